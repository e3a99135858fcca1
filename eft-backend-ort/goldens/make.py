"""Exports tiny checkpoints to ONNX, in the names and layouts of Optimum and onnx-community.

usage: python make.py     (needs torch, transformers, onnx, onnxruntime; reads ../../eft-models/goldens)

Each folder has a model; `golden.json` and `golden.safetensors` say what onnxruntime gives in Python for the prompts of
../../eft-models/goldens, all at once for the logits and token by token over a cache for the greedy texts.
"""

import copy
import json
import pathlib
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import transformers as tf
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save_file
from transformers.cache_utils import DynamicCache

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
CHECKPOINTS = HERE / "../../eft-models/goldens"
PROMPTS = [[1, 5, 9, 60, 33, 7, 12, 90, 4, 41, 18, 77, 3], [1, 88], [42, 42, 17, 63, 5, 29, 11]]
OPSET = 18


class WithCache(torch.nn.Module):
    """The interface of Optimum's decoders. `positions` says where positions come from: an input, the attention mask,
    or the length of the cache."""

    def __init__(self, model, positions):
        super().__init__()
        self.model, self.positions = model, positions

    def forward(self, input_ids, attention_mask, *rest):
        if self.positions == "input":
            position_ids, *past = rest
        else:
            past = rest
            counted = attention_mask.cumsum(-1) if self.positions == "mask" else torch.ones_like(attention_mask).cumsum(-1)
            position_ids = (counted - 1).clamp(min=0)[:, past[0].shape[2]:]
        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                         past_key_values=cache, use_cache=True)
        return out.logits, *(tensor for layer in out.past_key_values.layers for tensor in (layer.keys, layer.values))


class WithoutCache(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


def load(name, dtype=torch.float32):
    folder = CHECKPOINTS / name
    return tf.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def cache_names(config, prefix):
    return [f"{prefix}.{i}.{part}" for i in range(config.num_hidden_layers) for part in ("key", "value")]


def export(model, file, positions="input", cached=True):
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rows, past, new = 2, 3, 4
    total = past + new if cached else new
    mask = torch.ones(rows, total, dtype=torch.long)
    mask[0, 0] = 0  # else transformers traces a way without a mask
    inputs = {"input_ids": torch.randint(3, 90, (rows, new)), "attention_mask": mask}
    axes = {"input_ids": {0: "batch_size", 1: "sequence_length"},
            "attention_mask": {0: "batch_size", 1: "total_sequence_length"},
            "logits": {0: "batch_size", 1: "sequence_length"}}
    outputs = ["logits"]
    if cached:
        if positions == "input":
            inputs["position_ids"] = torch.arange(past, total)[None].expand(rows, -1).contiguous()
            axes["position_ids"] = axes["input_ids"]
        for name in cache_names(config, "past_key_values"):
            inputs[name] = torch.randn(rows, heads, past, size).to(model.dtype)
            axes[name] = {0: "batch_size", 2: "past_sequence_length"}
        outputs += cache_names(config, "present")
        axes |= {name: {0: "batch_size", 2: "total_sequence_length"} for name in outputs[1:]}
    wrapped = WithCache(model, positions) if cached else WithoutCache(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        torch.onnx.export(wrapped, tuple(inputs.values()), str(file), input_names=list(inputs), output_names=outputs,
                          dynamic_axes=axes, opset_version=OPSET, dynamo=False)


def merge(cached, file):
    """One graph with a branch for the first pass and one for those after it, as Optimum merges its two exports."""
    graph = copy.deepcopy(cached.graph)
    inputs, outputs, weights = list(graph.input), list(graph.output), list(graph.initializer)

    def branch(name, drop_past):
        body = copy.deepcopy(graph)
        body.name = name
        for field in (body.input, body.initializer):
            del field[:]
        rename = {}
        if drop_past:
            # The first pass must not look at the past it is given.
            empty = [entry for entry in inputs if entry.name.startswith("past_key_values")]
            for entry in empty:
                bounds = [f"{name}.{entry.name}.{bound}" for bound in ("start", "end", "axis")]
                for bound, value in zip(bounds, (0, 0, 2)):
                    body.initializer.append(onnx.numpy_helper.from_array(np.array([value]), bound))
                rename[entry.name] = f"{name}.{entry.name}"
                body.node.insert(0, helper.make_node("Slice", [entry.name, *bounds], [rename[entry.name]]))
        for node in body.node:
            for field in (node.input, node.output):
                for index, value in enumerate(field):
                    if value in rename and node.output[0] != rename[value]:
                        field[index] = rename[value]
                    elif value and value not in {entry.name for entry in inputs + weights} and not value.startswith(f"{name}."):
                        field[index] = f"{name}/{value}"
        for entry in body.output:
            entry.name = f"{name}/{entry.name}"
        return body

    condition = helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1])
    node = helper.make_node("If", ["use_cache_branch"], [entry.name for entry in outputs],
                            then_branch=branch("with_past", False), else_branch=branch("without_past", True))
    merged = helper.make_graph([node], "merged", inputs + [condition], outputs, weights)
    model = helper.make_model(merged, opset_imports=cached.opset_import, ir_version=cached.ir_version)
    onnx.checker.check_model(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, file)


class Runner:
    def __init__(self, file):
        self.session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        self.inputs = {entry.name: entry for entry in self.session.get_inputs()}
        self.past = [name for name in self.inputs if name.startswith("past_key_values")]

    def run(self, tokens, past):
        """Logits of the tokens after those of the cache, and the cache after them."""
        if past is None:
            dtype = np.float16 if self.past and "float16" in self.inputs[self.past[0]].type else np.float32
            past = [np.zeros((1, self.inputs[name].shape[1], 0, self.inputs[name].shape[3]), dtype) for name in self.past]
        before = past[0].shape[2] if past else 0
        feeds = {"input_ids": [tokens], "attention_mask": [[1] * (before + len(tokens))],
                 "position_ids": [list(range(before, before + len(tokens)))], "use_cache_branch": [before > 0]}
        feeds = {name: np.array(value) for name, value in feeds.items() if name in self.inputs}
        logits, *past = self.session.run(None, feeds | dict(zip(self.past, past)))
        return logits[0].astype(np.float32), past

    def greedy(self, prompt, count):
        text, past, fed = list(prompt), None, 0
        for _ in range(count):
            logits, past = self.run(text[fed:] if self.past else text, past)
            fed = len(text)
            text.append(int(logits[-1].argmax()))
        return text[len(prompt):]


def golden(name, file, source):
    folder = HERE / name
    runner = Runner(file)
    logits = {f"logits.{i}": runner.run(prompt, None)[0] for i, prompt in enumerate(PROMPTS)}
    save_file(logits, folder / "golden.safetensors")
    greedy = [runner.greedy(prompt, 32) for prompt in PROMPTS]
    (folder / "golden.json").write_text(json.dumps({"prompts": PROMPTS, "greedy": greedy}) + "\n")
    shutil.copy(CHECKPOINTS / source / "config.json", folder / "config.json")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    reference = load(source)
    with torch.no_grad():
        worst = max(np.abs(logits[f"logits.{i}"] - reference(torch.tensor([p])).logits[0].numpy()).max()
                    for i, p in enumerate(PROMPTS))
    print(f"{name:24} {size / 1024:6.0f} KiB, from transformers {worst:.1e}", flush=True)


def main():
    for folder in HERE.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)

    def simple(name, source, layout="model.onnx", dtype=torch.float32, **how):
        torch.manual_seed(0)
        export(load(source, dtype), HERE / name / layout, **how)
        golden(name, HERE / name / layout, source)

    simple("llama", "llama")
    simple("gpt2", "gpt2")
    simple("mistral", "mistral")
    simple("llama-f16", "llama", dtype=torch.float16)
    simple("llama-mask-positions", "llama", positions="mask")
    simple("llama-cache-positions", "llama", positions="cache")
    simple("llama-no-cache", "llama", cached=False)

    # As onnx-community lays it out, weights beside the graph.
    file = HERE / "qwen2/onnx/model.onnx"
    export(load("qwen2"), file)
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="model.onnx_data", size_threshold=256)
    golden("qwen2", file, "qwen2")

    file = HERE / "llama-int8/onnx/model_quantized.onnx"
    file.parent.mkdir(parents=True)
    quantize_dynamic(HERE / "llama/model.onnx", file, weight_type=QuantType.QInt8)
    golden("llama-int8", file, "llama")

    file = HERE / "llama-merged/decoder_model_merged.onnx"
    merge(onnx.load(HERE / "llama/model.onnx"), file)
    golden("llama-merged", file, "llama")


main()
