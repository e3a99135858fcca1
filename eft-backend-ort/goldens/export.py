"""Exports a checkpoint of transformers to ONNX, with the names and dynamic axes of Optimum's decoders.

usage: python export.py CHECKPOINT MODEL.onnx     (needs torch, transformers and onnx)

CHECKPOINT is a folder or a GGUF file. Weights are written in f32, and to a file beside the graph if they are large.
"""

import pathlib
import sys
import warnings

import onnx
import torch
import transformers as tf
from transformers.cache_utils import DynamicCache

warnings.filterwarnings("ignore")
OPSET = 18


class WithCache(torch.nn.Module):
    """The interface of Optimum's decoders. `positions` is the source of positions: an input, the attention mask, or the
    length of the cache."""

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


def cache_names(config, prefix):
    return [f"{prefix}.{i}.{part}" for i in range(config.num_hidden_layers) for part in ("key", "value")]


def export(model, file, positions="input", cached=True):
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rows, past, new = 2, 3, 4
    total = past + new if cached else new
    mask = torch.ones(rows, total, dtype=torch.long)
    mask[0, 0] = 0  # with a mask of ones, transformers would trace a graph that ignores it
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


def merge_external_data(file):
    """Merges the weight files, one for each tensor, that the exporter writes for models above 2 GB."""
    model = onnx.load(file, load_external_data=False)
    parts = {entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"}
    if parts:
        onnx.external_data_helper.load_external_data_for_model(model, str(file.parent))
        onnx.save(model, file, save_as_external_data=True, location=f"{file.name}_data")
        for part in parts - {f"{file.name}_data"}:
            (file.parent / part).unlink()


def main(checkpoint, file):
    checkpoint, file = pathlib.Path(checkpoint), pathlib.Path(file)
    how = dict(dtype=torch.float32, attn_implementation="eager")
    if checkpoint.suffix == ".gguf":
        model = tf.AutoModelForCausalLM.from_pretrained(checkpoint.parent, gguf_file=checkpoint.name, **how)
    else:
        model = tf.AutoModelForCausalLM.from_pretrained(checkpoint, **how)
    export(model.eval(), file)
    merge_external_data(file)
    model.config.save_pretrained(file.parent)


if __name__ == "__main__":
    main(*sys.argv[1:])
