"""Logits and greedy texts of a GGUF model by transformers, which the tests of `gguf` compare against.

usage: gguf_reference.py MODEL.gguf...

Needs torch, transformers, safetensors and gguf. Transformers dequantises the file with the `gguf` package and runs
its own model in f32, so the reference does not depend on the code under test. Writes beside each model:
  MODEL.golden.json         ids of the prompts; 32 ids that follow each, chosen greedily; ids of a long prompt
  MODEL.golden.safetensors  `logits.0` ...: logits of every position of each prompt; `long`: logits of the last
                            position of the long prompt, which is longer than any model's sliding window
"""
import json, pathlib, sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = [
    "The capital of France is Paris, and the capital of Italy is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Once upon a time, in a small village by the sea — «où» — there lived",
]
NEW = 32


def main(file):
    path = pathlib.Path(file)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    model.eval()
    print(path.name, model.config)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    prompts = [tokenizer(text)["input_ids"] for text in TEXTS]
    # Longer than a window of 512.
    long = (prompts[2] + sum((p[1:] for p in prompts), []) * 30)[:700]
    tensors, greedy = {}, []
    with torch.no_grad():
        for i, prompt in enumerate(prompts):
            tensors[f"logits.{i}"] = model(torch.tensor([prompt])).logits[0].float().contiguous()
            ids = list(prompt)
            for _ in range(NEW):
                ids.append(int(model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1].argmax()))
            greedy.append(ids[len(prompt):])
            print(repr(tokenizer.decode(ids)))
        tensors["long"] = model(torch.tensor([long]), logits_to_keep=1).logits[0].float().contiguous()
    save_file(tensors, f"{file}.golden.safetensors")
    with open(f"{file}.golden.json", "w") as out:
        json.dump({"prompts": prompts, "greedy": greedy, "long": long}, out)


for file in sys.argv[1:]:
    main(file)
