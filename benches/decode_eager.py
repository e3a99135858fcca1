"""Eager transformers' side of the `decode` benchmark. Reads one command per line from stdin.

Arguments: a folder with a model, the number of threads. A line `PAST NEW WANTED N` feeds NEW tokens after PAST others
in the cache, N times, with logits for the last WANTED of them, and prints the seconds of each pass.
"""
import sys
import time

import torch
from transformers import AutoModelForCausalLM, DynamicCache


def main():
    folder, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    print("ready", torch.__version__, flush=True)
    for line in sys.stdin:
        past, new, wanted, rounds = map(int, line.split())
        ids = torch.tensor([[(7 * i * i + 3) % 3000 + 10 for i in range(past + new)]])
        cache = DynamicCache(config=model.config)
        if past:
            model(ids[:, :past], past_key_values=cache, logits_to_keep=1)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            model(ids[:, past:], past_key_values=cache, logits_to_keep=wanted)
            seconds.append(time.perf_counter() - start)
            cache.crop(-new)
        print(*seconds, flush=True)


with torch.inference_mode():
    main()
