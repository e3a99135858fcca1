"""Eager transformers' side of the benchmarks, driven line by line on standard input.

usage: eager.py [--device DEVICE] KIND THREADS FOLDER                     a model
       eager.py [--device DEVICE] KIND THREADS BASE EXPERT ANTI-EXPERT    proxy-tuning, `base + (expert - anti)`

DEVICE is `cpu` (the default) or a GPU's name, such as `cuda:0`. KIND is `float32`, `bfloat16` or `float16`. Requests, each answered with the seconds of every pass or step:
  pass PAST NEW WANTED ROWS N   feeds NEW tokens after PAST others in the base's cache, in each of ROWS rows, N times, with
                                logits for the last WANTED tokens of a row
  open N                        reads a prompt of N tokens with every model, each with its own cache
  step N                        takes N greedy steps after it
"""
import argparse
import sys
import time

import torch
from transformers import AutoModelForCausalLM, DynamicCache


def ids(count, device, rows=1):
    tokens = [[(7 * i * i + 13 * row + 3) % 3000 + 10 for i in range(count)] for row in range(rows)]
    return torch.tensor(tokens, device=device)


def now(device):
    """The time when all work of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Loop:
    """`base + (expert - anti)`, or `base` alone."""

    def __init__(self, models):
        self.models = models

    def logits(self, tokens):
        rows = [model(tokens, past_key_values=cache, logits_to_keep=1).logits[:, -1].float()
                for model, cache in zip(self.models, self.caches)]
        return rows[0] + (rows[1] - rows[2]) if len(rows) == 3 else rows[0]

    def open(self, tokens):
        self.caches = [DynamicCache(config=model.config) for model in self.models]
        device = self.models[0].device
        start = now(device)
        self.token = self.logits(tokens).argmax(-1, keepdim=True)
        return now(device) - start

    def step(self):
        start = time.perf_counter()
        self.token = self.logits(self.token).argmax(-1, keepdim=True)
        self.token.item()
        return time.perf_counter() - start


class Passes:
    """Passes of one model. The cache of the last request is kept for the next with the same past."""

    def __init__(self, model):
        self.model, self.held = model, None

    def run(self, past, new, wanted, rows, count):
        device = self.model.device
        tokens = ids(past + new, device, rows)
        if self.held != (past, rows):
            self.cache, self.held = DynamicCache(config=self.model.config), (past, rows)
            if past:
                self.model(tokens[:, :past], past_key_values=self.cache, logits_to_keep=1)
        for _ in range(count):
            start = now(device)
            self.model(tokens[:, past:], past_key_values=self.cache, logits_to_keep=wanted)
            yield now(device) - start
            self.cache.crop(-new)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("kind")
    parser.add_argument("threads", type=int)
    parser.add_argument("folders", nargs="+")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    kind = getattr(torch, given.kind)
    load = lambda folder: AutoModelForCausalLM.from_pretrained(folder, dtype=kind).eval().to(given.device)
    loop = Loop([load(folder) for folder in given.folders])
    passes = Passes(loop.models[0])
    print("ready", torch.__version__, flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        numbers = list(map(int, numbers))
        if command == "open":
            print(loop.open(ids(*numbers, given.device)), flush=True)
        elif command == "step":
            print(*[loop.step() for _ in range(*numbers)], flush=True)
        else:
            print(*passes.run(*numbers), flush=True)


with torch.inference_mode():
    main()
