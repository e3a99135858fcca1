#!/usr/bin/env python3
"""Makes the TorchScript modules of the tests: `llama.pt` with scripts/export.py, and small modules that follow the
calling convention in part or not at all.

usage: make.py          needs torch 2.13, safetensors
"""

import pathlib
import subprocess
import sys
from typing import List, Tuple

import torch
from torch import Tensor, nn

HERE = pathlib.Path(__file__).parent
VOCAB = 8


class Sums(nn.Module):
    """Logits that depend on the sum of all tokens so far and on the position. The cache holds the tokens."""

    def __init__(self):
        super().__init__()
        self.register_buffer("waves", 0.37 * torch.arange(1, VOCAB + 1, dtype=torch.float32))

    def logits(self, values: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        new, seen = positions.size(1), values.size(2)
        slots = torch.arange(seen)
        visible = (slots <= slots[seen - new:].unsqueeze(1)).unsqueeze(0) & mask.unsqueeze(1)
        sums = (visible * values.squeeze(3)).sum(2)
        return 3 * torch.cos((sums + 1).unsqueeze(2) * self.waves + positions.unsqueeze(2))

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, List[Tensor]]:
        values = ids.float().unsqueeze(1).unsqueeze(3)
        if len(past) > 0:
            values = torch.cat((past[0], values), dim=2)
        return self.logits(values, mask, positions), [values]


class NoCache(Sums):
    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tensor:
        return self.logits(ids.float().unsqueeze(1).unsqueeze(3), mask, positions)


class Blind(Sums):
    """Ignores the mask."""

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, List[Tensor]]:
        values = ids.float().unsqueeze(1).unsqueeze(3)
        if len(past) > 0:
            values = torch.cat((past[0], values), dim=2)
        return self.logits(values, torch.ones_like(mask), positions), [values]


class Forgetful(Sums):
    """Returns other logits with a cache than without."""

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, List[Tensor]]:
        values = ids.float().unsqueeze(1).unsqueeze(3)
        if len(past) > 0:
            values = torch.cat((torch.zeros_like(past[0]), values), dim=2)
        return self.logits(values, mask, positions), [values]


class Flat(Sums):
    """Returns logits of the last token only."""

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, List[Tensor]]:
        values = ids.float().unsqueeze(1).unsqueeze(3)
        return self.logits(values, mask, positions)[:, -1], [values]


class Stale(Sums):
    """Returns a cache that does not grow."""

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, List[Tensor]]:
        values = ids.float().unsqueeze(1).unsqueeze(3)
        return self.logits(values, mask[:, -ids.size(1):], positions), [values]


class Failing(Sums):
    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, List[Tensor]]:
        raise ValueError("no such luck")


class OneInput(Sums):
    def forward(self, ids: Tensor) -> Tensor:
        return ids.float()


def main():
    for kind in (Sums, NoCache, Blind, Forgetful, Flat, Stale, Failing, OneInput):
        torch.jit.script(kind().eval()).save(str(HERE / f"{kind.__name__.lower()}.pt"))
    llama = HERE.parent.parent / "eft-models/goldens/llama"
    subprocess.run([sys.executable, HERE.parent / "scripts/export.py", llama, HERE / "llama.pt"], check=True)
    subprocess.run([sys.executable, HERE.parent / "scripts/strip.py", *HERE.glob("*.pt")], check=True)


if __name__ == "__main__":
    main()
