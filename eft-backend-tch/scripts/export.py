#!/usr/bin/env python3
"""Exports a Llama or Qwen 2 as a TorchScript module for eft-backend-tch: an example for your own models.

usage: export.py CHECKPOINT MODULE.pt       (needs torch and safetensors)

CHECKPOINT is a folder with config.json and safetensors files. The calling convention is that of `Decoder.forward`. Any
scripted module can follow it: it takes ids, positions, a mask and the cache tensors that it returned in the previous
pass. The cache may have any number of tensors.
"""

import json
import pathlib
import sys
from typing import List, Tuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.width = config.get("head_dim") or hidden // self.heads
        bias = config["model_type"] == "qwen2" or config.get("attention_bias", False)
        self.q = nn.Linear(hidden, self.heads * self.width, bias=bias)
        self.k = nn.Linear(hidden, self.kv_heads * self.width, bias=bias)
        self.v = nn.Linear(hidden, self.kv_heads * self.width, bias=bias)
        self.o = nn.Linear(self.heads * self.width, hidden, bias=config.get("attention_bias", False))
        self.gate = nn.Linear(hidden, inner, bias=False)
        self.up = nn.Linear(hidden, inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)
        self.before = nn.RMSNorm(hidden, config["rms_norm_eps"])
        self.between = nn.RMSNorm(hidden, config["rms_norm_eps"])

    def rotated(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-second, first), dim=-1) * sin

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, Tensor, Tensor]:
        rows, new = x.size(0), x.size(1)
        normed = self.before(x)
        query = self.rotated(self.q(normed).view(rows, new, self.heads, self.width).transpose(1, 2), cos, sin)
        key = self.rotated(self.k(normed).view(rows, new, self.kv_heads, self.width).transpose(1, 2), cos, sin)
        value = self.v(normed).view(rows, new, self.kv_heads, self.width).transpose(1, 2)
        if len(past) > 0:
            key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
        groups = self.heads // self.kv_heads
        attended = F.scaled_dot_product_attention(
            query, key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1), attn_mask=mask)
        x = x + self.o(attended.transpose(1, 2).reshape(rows, new, self.heads * self.width))
        normed = self.between(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed)), key, value


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, vocab = config["hidden_size"], config["vocab_size"]
        self.embedding = nn.Embedding(vocab, hidden)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))
        self.norm = nn.RMSNorm(hidden, config["rms_norm_eps"])
        self.head = nn.Linear(hidden, vocab, bias=False)
        width = self.blocks[0].width
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            sys.exit(f"positions scaled as {rope} are not supported by this example")
        theta = config.get("rope_theta") or rope.get("rope_theta") or 10_000.0
        self.register_buffer("frequencies", theta ** (-torch.arange(0, width, 2, dtype=torch.float32) / width))

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, List[Tensor]]:
        new, seen = ids.size(1), mask.size(1)
        angles = positions.unsqueeze(-1).to(self.frequencies.dtype) * self.frequencies
        angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
        cos, sin = angles.cos(), angles.sin()
        # A token attends to its own slot and those before it, except masked ones.
        slots = torch.arange(seen, device=ids.device)
        causal = slots <= slots[seen - new:].unsqueeze(1)
        visible = causal.unsqueeze(0).unsqueeze(0) & mask.unsqueeze(1).unsqueeze(1)
        x = self.embedding(ids)
        present: List[Tensor] = []
        for index, block in enumerate(self.blocks):
            x, key, value = block(x, cos.to(x.dtype), sin.to(x.dtype), visible, past[2 * index:2 * index + 2])
            present.append(key)
            present.append(value)
        return self.head(self.norm(x)), present


NAMES = {
    "self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v", "self_attn.o_proj": "o",
    "mlp.gate_proj": "gate", "mlp.up_proj": "up", "mlp.down_proj": "down",
    "input_layernorm": "before", "post_attention_layernorm": "between",
    "model.layers": "blocks", "model.embed_tokens": "embedding", "model.norm": "norm", "lm_head": "head",
}


def main():
    folder, out = map(pathlib.Path, sys.argv[1:])
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] not in ("llama", "qwen2"):
        sys.exit(f"{config['model_type']} is not supported by this example")
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        if file.name.startswith("model"):
            weights.update(load_file(file))
    for theirs, ours in NAMES.items():
        weights = {name.replace(theirs, ours): tensor for name, tensor in weights.items()}
    weights.setdefault("head.weight", weights["embedding.weight"])
    decoder = Decoder(config).to(weights["embedding.weight"].dtype)
    missing, unexpected = decoder.load_state_dict(weights, strict=False)
    if set(missing) != {"frequencies"} or unexpected:
        sys.exit(f"{folder}: missing {missing}, unexpected {unexpected}")
    # Angles are computed in float32, whatever the weights are.
    decoder.frequencies = decoder.frequencies.float()
    torch.jit.script(decoder.eval()).save(str(out))


if __name__ == "__main__":
    main()
