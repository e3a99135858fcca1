"""Passes by vLLM.

usage: vllm_passes.py KIND THREADS FOLDER

Reads commands from stdin: `pass PAST NEW WANTED ROWS N`, where NEW and WANTED are 1, generates in each of ROWS rows after
prompts of PAST tokens, and prints the seconds of a step: the time that N more tokens take, over N.
"""
import os
import sys
import time

KIND, THREADS, FOLDER = sys.argv[1:]
os.environ.update(VLLM_CPU_OMP_THREADS_BIND=f"0-{int(THREADS) - 1}", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1",
                  HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="ERROR", VLLM_ENABLE_V1_MULTIPROCESSING="0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

from vllm import LLM, SamplingParams


def main():
    model = LLM(FOLDER, dtype=KIND, enforce_eager=True, max_model_len=512, max_num_seqs=32,
                enable_prefix_caching=False, skip_tokenizer_init=True)

    def seconds(prompts, tokens):
        sampling = SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False)
        start = time.perf_counter()
        model.generate(prompts, sampling, use_tqdm=False)
        return time.perf_counter() - start

    print("ready", flush=True)
    for line in sys.stdin:
        past, _, _, rows, count = map(int, line.split()[1:])
        prompts = [{"prompt_token_ids": [(7 * i * i + 13 * row + 3) % 3000 + 10 for i in range(past)]}
                   for row in range(rows)]
        print((seconds(prompts, count + 1) - seconds(prompts, 1)) / count, flush=True)


if __name__ == "__main__":
    main()
