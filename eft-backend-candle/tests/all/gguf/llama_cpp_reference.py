"""Logits of a GGUF model by llama.cpp, which the tests of `gguf` compare against.

usage: llama_cpp_reference.py MODEL.gguf...

Needs xllamacpp and numpy. Writes beside each model:
  MODEL.llama_cpp.json  ids of texts: prompts, each with the 32 ids that follow it, chosen greedily
  MODEL.llama_cpp.f32   logits of every position of each text, one row after another
"""
import json, pathlib, sys

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).parents[4] / "benches"))
from llama_cpp import Model

TEXTS = [
    "The capital of France is Paris, and the capital of Italy is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Once upon a time, in a small village by the sea — «où» — there lived",
]
NEW = 32

for file in sys.argv[1:]:
    model = Model(file, threads=2)
    texts, logits = [], []
    for prompt in TEXTS:
        ids = model.tokenize(prompt)
        rows = [model.logits(ids, 0)]
        for _ in range(NEW):
            ids.append(int(rows[-1][-1].argmax()))
            rows.append(model.logits(ids[-1:], len(ids) - 1))
        texts.append(ids)
        logits.extend(rows)
    numpy.concatenate(logits).astype("<f4").tofile(f"{file}.llama_cpp.f32")
    with open(f"{file}.llama_cpp.json", "w") as out:
        json.dump(texts, out)
