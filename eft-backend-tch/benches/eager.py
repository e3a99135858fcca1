"""The `decode` benchmark's other side: eager transformers, driven line by line on standard input.

Arguments: the type, the number of threads, and the models' folders: a base, or a base, an expert and an anti-expert.

Requests:
  open N          reads a prompt of N tokens with every model, each with its own cache
  step N          takes N greedy steps of the proxy-tuning loop; prints the last token and the seconds of each step
  pass PAST NEW N runs NEW tokens of the base after PAST others, all scored, N times; prints the seconds of each pass
"""
import sys
import time

import torch
from transformers import AutoModelForCausalLM, DynamicCache


def ids(count):
    return torch.tensor([[(7 * i * i + 3) % 3000 + 10 for i in range(count)]])


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
        self.token = self.logits(tokens).argmax(-1, keepdim=True)

    def step(self):
        self.token = self.logits(self.token).argmax(-1, keepdim=True)
        return self.token.item()


def passes(model, past, new, rounds):
    tokens, cache = ids(past + new), DynamicCache(config=model.config)
    if past:
        model(tokens[:, :past], past_key_values=cache, logits_to_keep=1)
    for _ in range(rounds):
        start = time.perf_counter()
        model(tokens[:, past:], past_key_values=cache, logits_to_keep=0 if past else 1)
        yield time.perf_counter() - start
        cache.crop(-new)


def main():
    kind, threads, *folders = sys.argv[1:]
    torch.set_num_threads(int(threads))
    load = lambda folder: AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, kind)).eval()
    loop = Loop([load(folder) for folder in folders])
    print("ready", torch.__version__, flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        numbers = list(map(int, numbers))
        if command == "open":
            loop.open(ids(numbers[0]))
            print(loop.token.item(), flush=True)
        elif command == "step":
            seconds = []
            for _ in range(numbers[0]):
                start = time.perf_counter()
                token = loop.step()
                seconds.append(time.perf_counter() - start)
            print(token, *seconds, flush=True)
        else:
            print(0, *passes(loop.models[0], *numbers), flush=True)


with torch.inference_mode():
    main()
