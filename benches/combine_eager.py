"""Eager PyTorch's side of the `combine` benchmark. Reads one command per line from stdin.

Arguments: a file of three float32 rows, the width, the number of threads. A line `greedy N` or `top_p N` runs N
steps and prints the token and the seconds of each; the token of greedy shows whether both sides agree.
"""
import sys
import time

import numpy
import torch
from transformers.generation.logits_process import TopPLogitsWarper

TOP_P = TopPLogitsWarper(top_p=0.9)


def greedy(base, tuned, untuned):
    return torch.softmax(base + tuned - untuned, dim=-1).argmax(dim=-1).item()


def top_p(base, tuned, untuned):
    scores = TOP_P(None, base + tuned - untuned)
    return torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1).item()


def main():
    path, width, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rows = torch.from_numpy(numpy.fromfile(path, dtype="<f4")).reshape(3, 1, width)
    base, tuned, untuned = (row.clone() for row in rows)
    print("ready", torch.__version__, flush=True)
    for line in sys.stdin:
        name, rounds = line.split()
        step = {"greedy": greedy, "top_p": top_p}[name]
        seconds, token = [], None
        for _ in range(int(rounds)):
            start = time.perf_counter()
            token = step(base, tuned, untuned)
            seconds.append(time.perf_counter() - start)
        print(token, *seconds, flush=True)


with torch.inference_mode():
    main()
