#!/usr/bin/env python3
"""Makes src/nn/packed.pt, a module that calls oneDNN's operators, for which libtorch has no C++ function.

usage: packed.py          needs torch 2.13
"""

import pathlib
import subprocess
import sys
from typing import List, Optional

import torch
from torch import Tensor, nn

HERE = pathlib.Path(__file__).parent


class Packed(nn.Module):
    @torch.jit.export
    def pack(self, weight: Tensor, rows: int) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(weight, rows)

    def forward(self, x: Tensor, weights: List[Tensor], biases: List[Tensor], least: int) -> List[Tensor]:
        """Multiplies the rows of `x`, padded to at least `least` rows, with each weight. An empty bias means no bias."""
        rows = x.size(0)
        if rows < least:
            x = torch.constant_pad_nd(x, [0, 0, 0, least - rows])
        outs: List[Tensor] = []
        for weight, each in zip(weights, biases):
            bias: Optional[Tensor] = None
            if each.numel() > 0:
                bias = each
            outs.append(torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")[:rows])
        return outs


if __name__ == "__main__":
    out = str(HERE.parent / "src/nn/packed.pt")
    torch.jit.script(Packed()).save(out)
    subprocess.run([sys.executable, HERE / "strip.py", out], check=True)
