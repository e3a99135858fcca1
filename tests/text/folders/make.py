"""Writes what transformers makes of the files beside a `tokenizer.json`: ids of some texts, special tokens, prompts.

    python make.py

Each case is the tokenizer of ../small, some of its added tokens left out, with other files beside it. Written with
transformers 5.
"""

import json
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

HERE = Path(__file__).parent
CLASS = {"tokenizer_class": "PreTrainedTokenizerFast"}
TEMPLATE = {"chat_template": "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}{{ pad_token }}"}
TEXTS = ["<|im_start|>user the<|im_end|>", "the <|user|> <|end|> cat", "that <|im_end|>", " the", ""]


def token(content, **flags):
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    return {"content": content, **plain, **flags}


def role(content):
    return {key: value for key, value in token(content).items() if key != "special"}


CASES = {
    # Tokens that only `tokenizer_config.json` has.
    "decoder": ([94, 95], {"tokenizer_config.json": CLASS | TEMPLATE | {
        "added_tokens_decoder": {"94": token("<|im_start|>"), "95": token("<|im_end|>")},
        "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}}),
    # ... of which one is not special.
    "decoder-plain": ([94, 95], {"tokenizer_config.json": CLASS | {
        "added_tokens_decoder": {"95": token("<|im_end|>"), "94": token("<|im_start|>", special=False, normalized=True)}}}),
    # Tokens that only `added_tokens.json` has, one of them without a role.
    "added": ([94, 95], {
        "tokenizer_config.json": CLASS | TEMPLATE | {"eos_token": "<|im_end|>"},
        "added_tokens.json": {"<|im_end|>": 95, "<|im_start|>": 94}}),
    "added-roles": ([94, 95], {
        "tokenizer_config.json": CLASS | TEMPLATE,
        "added_tokens.json": {"<|im_start|>": 94, "<|im_end|>": 95},
        "special_tokens_map.json": {"eos_token": role("<|im_end|>"), "additional_special_tokens": ["<|im_start|>"]}}),
    # Roles that only `special_tokens_map.json` gives.
    "roles": ([], {
        "tokenizer_config.json": CLASS | TEMPLATE,
        "special_tokens_map.json": {"bos_token": "<|user|>", "eos_token": role("<|end|>"), "pad_token": "<|end|>"}}),
    # ... which has precedence,
    "roles-differ": ([], {
        "tokenizer_config.json": CLASS | TEMPLATE | {"eos_token": "<|user|>", "pad_token": "<|user|>"},
        "special_tokens_map.json": {"eos_token": role("<|end|>")}}),
    # ... unless there are both.
    "roles-ignored": ([], {
        "tokenizer_config.json": CLASS | TEMPLATE | {
            "eos_token": "<|user|>", "added_tokens_decoder": {"94": token("<|user|>"), "95": token("<|end|>")}},
        "special_tokens_map.json": {"eos_token": role("<|end|>"), "pad_token": "<|end|>"}}),
    # Properties that `tokenizer.json` does not have.
    "stripping": ([], {"tokenizer_config.json": CLASS | {
        "added_tokens_decoder": {"94": token("<|user|>", lstrip=True, rstrip=True), "95": token("<|end|>")}}}),
    # An ordinary token with a role. A token with a role that there is not gets the next id, unless it is for padding.
    "ordinary": ([], {"tokenizer_config.json": CLASS | TEMPLATE | {"eos_token": "the"}}),
    "new": ([95], {"tokenizer_config.json": CLASS | TEMPLATE | {"eos_token": "<|im_end|>"}}),
    "extra": ([94, 95], {"tokenizer_config.json": CLASS | {
        "extra_special_tokens": ["<|im_start|>", token("<|im_end|>") | {"__type": "AddedToken"}]}}),
    "begins": ([], {"tokenizer_config.json": CLASS | {"bos_token": "<|user|>", "eos_token": "<|end|>", "add_bos_token": True}}),
    "ends": ([], {"tokenizer_config.json": CLASS | {
        "bos_token": "<|user|>", "eos_token": "<|end|>", "add_bos_token": True, "add_eos_token": True}}),
    "begins-not": ([], {"tokenizer_config.json": CLASS | {"add_bos_token": True, "eos_token": "<|end|>", "add_eos_token": False}}),
    "nothing": ([], {}),
}


def without(ids):
    parts = json.loads((HERE.parent / "small" / "tokenizer.json").read_text())
    dropped = {t["content"] for t in parts["added_tokens"] if t["id"] in ids}
    parts["added_tokens"] = [t for t in parts["added_tokens"] if t["id"] not in ids]
    parts["model"]["vocab"] = {t: id for t, id in parts["model"]["vocab"].items() if t not in dropped}
    return parts


def main():
    cases = []
    for name, (dropped, files) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            for file, content in {"tokenizer.json": without(dropped), **files}.items():
                (Path(folder) / file).write_text(json.dumps(content))
            tokenizer = AutoTokenizer.from_pretrained(folder) if files else None
            if tokenizer is None:
                from transformers import PreTrainedTokenizerFast

                tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json")
        ids = lambda text, whole: tokenizer(text, add_special_tokens=whole)["input_ids"]
        chat = [{"role": "user", "content": "the"}]
        cases.append({
            "name": name,
            "dropped": dropped,
            "files": files,
            "texts": [{"text": t, "bare": ids(t, False), "whole": ids(t, True)} for t in TEXTS],
            "special": sorted(id for id, token in tokenizer.added_tokens_decoder.items() if token.special),
            "eos": tokenizer.eos_token_id,
            "prompt": tokenizer.apply_chat_template(chat, tokenize=False) if tokenizer.chat_template else None,
        })
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "golden.json").write_text(f"[\n{lines}\n]\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
