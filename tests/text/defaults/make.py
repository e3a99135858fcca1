"""Writes what transformers generates with several `generation_config.json` files.

    python make.py

The model is zoo/base-small; texts are greedy, so they do not depend on random numbers. Written with transformers 5.
"""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

HERE = Path(__file__).parent
MODEL = HERE.parent.parent.parent / "zoo" / "base-small"
PROMPTS = ["Nora Abbot plays a", "The", "Which instrument does Hugo play? Hugo plays"]
CONFIGS = [
    {"max_new_tokens": 12},
    {"max_length": 20},
    {"max_length": 20, "max_new_tokens": 9},
    {"max_new_tokens": 40, "repetition_penalty": 1.3},
    {"max_new_tokens": 40, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 40, "no_repeat_ngram_size": 1},
    {"max_new_tokens": 40, "min_new_tokens": 30},
    {"max_new_tokens": 20, "suppress_tokens": [10, 11, 12, 13, 14, 15], "begin_suppress_tokens": [0, 222, 223]},
    {"max_new_tokens": 20, "bad_words_ids": [[14], [270, 278], [396, 265, 405]]},
    {"max_new_tokens": 40, "repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "min_new_tokens": 12, "suppress_tokens": [17]},
]


def main():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    cases = []
    for config in CONFIGS:
        settings = GenerationConfig(eos_token_id=0, pad_token_id=0, bos_token_id=0, **config)
        texts = []
        for prompt in PROMPTS:
            ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
            # What is given in the call has precedence over the model's own file.
            out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)[0, ids.shape[1]:]
            texts.append({"prompt": prompt, "ids": out.tolist()})
        cases.append({"config": config, "texts": texts})
    (HERE / "golden.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print([[len(text["ids"]) for text in case["texts"]] for case in cases])


if __name__ == "__main__":
    main()
