"""Exports tiny checkpoints to ONNX, in the names and layouts of Optimum and onnx-community.

usage: python make.py     (needs torch, transformers, onnx, onnxruntime; reads ../../eft-models/goldens)

Each folder gets a model, and the outputs of onnxruntime in Python for the prompts of ../../eft-models/goldens: logits in
`golden.safetensors`, computed in one pass, and greedy texts in `golden.json`, computed token by token with a cache.
"""

import copy
import json
import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime
import torch
import transformers as tf
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save_file

from export import export

HERE = pathlib.Path(__file__).parent
CHECKPOINTS = HERE / "../../eft-models/goldens"
OPSET = 18
PROMPTS = [[1, 5, 9, 60, 33, 7, 12, 90, 4, 41, 18, 77, 3], [1, 88], [42, 42, 17, 63, 5, 29, 11]]


def load(name, dtype=torch.float32):
    folder = CHECKPOINTS / name
    return tf.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def merge(cached, file):
    """Merges a branch for the first pass and one for later passes into one graph, as Optimum does."""
    graph = copy.deepcopy(cached.graph)
    inputs, outputs, weights = list(graph.input), list(graph.output), list(graph.initializer)

    def branch(name, drop_past):
        body = copy.deepcopy(graph)
        body.name = name
        for field in (body.input, body.initializer):
            del field[:]
        rename = {}
        if drop_past:
            # The branch of the first pass must ignore its past.
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
        """Returns the logits of `tokens`, which follow those of the cache `past`, and the next cache."""
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


def one_row(model, file):
    """Fixes the number of rows to one."""
    for entry in [*model.graph.input, *model.graph.output]:
        entry.type.tensor_type.shape.dim[0].dim_value = 1
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, file)


def broken():
    """Writes graphs of a few nodes that are not quite decoders, and one that is: it has a table as long as its context."""

    def write(name, ids=("rows", "new"), ids_type=TensorProto.INT64, past=("rows", 1, "past", 2), present_type=TensorProto.FLOAT,
              logits=("rows", "new", 8), logits_type=TensorProto.FLOAT, forgets=False, opset=OPSET, table=None, drift=None):
        entry = helper.make_tensor_value_info
        constant = lambda name, value: onnx.numpy_helper.from_array(np.array(value), name)
        inputs = [entry("input_ids", ids_type, ids), entry("past_key_values.0.key", TensorProto.FLOAT, past)]
        outputs = [entry("logits", logits_type, logits), entry("present.0.key", present_type, [*past[:2], "all", past[3]])]
        # Logits depend on their own token. If the model `forgets`, they depend on all tokens of the pass instead, and so
        # not on those before it.
        seen = [helper.make_node("ReduceSum", ["input_ids", "last"], ["seen"])] if forgets else \
            [helper.make_node("Identity", ["input_ids"], ["seen"])]
        nodes = seen + [
            helper.make_node("Cast", ["seen"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Expand" if forgets else "Identity", ["number", "like"] if forgets else ["number"], ["each"]),
            helper.make_node("Unsqueeze", ["each", "last"], ["column"]),
            helper.make_node("Mul", ["column", "directions"], ["product"]),
            helper.make_node("Sin", ["product"], ["sine"]),
            helper.make_node("Cast", ["sine"], ["cast"], to=logits_type),
            helper.make_node("Reshape", ["cast", "flat"], ["logits"]) if len(logits) == 2 else helper.make_node("Identity", ["cast"], ["logits"]),
            helper.make_node("Shape", ["input_ids"], ["like"]),
            helper.make_node("Unsqueeze", ["each", "middle"], ["entry"]),
            helper.make_node("Concat", ["entry", "entry"], ["entries"], axis=-1),
            helper.make_node("Concat", ["past_key_values.0.key", "entries"], ["grown"], axis=2),
            helper.make_node("Cast", ["grown"], ["present.0.key"], to=present_type),
        ]
        if table:
            # The table is indexed by the number of slots, so the model fails if there are more.
            inputs.append(entry("attention_mask", TensorProto.INT64, ("rows", "all")))
            nodes[-1:-1] = [helper.make_node("Shape", ["grown"], ["slots"], start=2, end=3),
                            helper.make_node("Sub", ["slots", "one"], ["last slot"]),
                            helper.make_node("Gather", ["table", "last slot"], ["nothing"])]
            nodes[-1].input[0] = "looked up"
            nodes[-1:-1] = [helper.make_node("Add", ["grown", "nothing"], ["looked up"])]
        if drift:
            # The logits over a cache differ from those of one pass by a little for each slot.
            cast = next(node for node in nodes if node.op_type == "Cast" and node.output[0] == "cast")
            cast.input[0] = "drifted"
            at = nodes.index(cast)
            nodes[at:at] = [helper.make_node("Shape", ["past_key_values.0.key"], ["past slots"], start=2, end=3),
                            helper.make_node("Cast", ["past slots"], ["past number"], to=TensorProto.FLOAT),
                            helper.make_node("Mul", ["past number", "drift"], ["past drift"]),
                            helper.make_node("Mul", ["past drift", "sine"], ["added"]),
                            helper.make_node("Add", ["sine", "added"], ["drifted"])]
        order = ["Shape"] if forgets else []
        nodes.sort(key=lambda node: node.op_type not in order)
        weights = [constant("last", [-1]), constant("middle", [1, 3]), constant("flat", [-1, 8]),
                   constant("directions", np.arange(1, 9, dtype=np.float32) / 7)]
        if table:
            weights += [constant("one", [1]), constant("table", np.zeros(table, np.float32))]
        if drift:
            weights.append(constant("drift", np.array([drift], np.float32)))
        graph = helper.make_graph(nodes, name, inputs, outputs, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        file = HERE / "broken" / f"{name}.onnx" if table is None else HERE / name / "model.onnx"
        file.parent.mkdir(exist_ok=True)
        onnx.save(model, file)

    write("sound")
    write("fixed-sequence", ids=("rows", 8))
    write("fixed-past", past=("rows", 1, 8, 2))
    write("unknown-heads", past=("rows", "heads", "past", 2))
    write("float-ids", ids_type=TensorProto.FLOAT)
    write("double-logits", logits_type=TensorProto.DOUBLE)
    write("flat-logits", logits=("positions", 8))
    write("half-present", present_type=TensorProto.FLOAT16)
    write("forgetful", forgets=True)
    # Between once and four times what rounding explains in 32 bits.
    write("drifting", drift=1.2e-4)
    write("future-opset", opset=99)
    write("table", table=16)
    (HERE / "table/config.json").write_text('{"max_position_embeddings": 16}\n')


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

    # The layout of onnx-community, with weights beside the graph.
    file = HERE / "qwen2/onnx/model.onnx"
    export(load("qwen2"), file)
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="model.onnx_data", size_threshold=256)
    golden("qwen2", file, "qwen2")

    file = HERE / "llama-int8/onnx/model_quantized.onnx"
    file.parent.mkdir(parents=True)
    # Weights have seven bits, since sums over eight bits overflow on older processors but not on newer ones.
    quantize_dynamic(HERE / "llama/model.onnx", file, weight_type=QuantType.QInt8, reduce_range=True)
    golden("llama-int8", file, "llama")

    file = HERE / "llama-merged/decoder_model_merged.onnx"
    merge(onnx.load(HERE / "llama/model.onnx"), file)
    golden("llama-merged", file, "llama")

    file = HERE / "llama-one-row/model.onnx"
    one_row(onnx.load(HERE / "llama/model.onnx"), file)
    golden("llama-one-row", file, "llama")
    broken()


if __name__ == "__main__":
    main()
