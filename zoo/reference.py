"""Reference outputs of transformers in float32: logits of several prompts, and greedy texts of more prompts."""

import json

import peft
import torch
import transformers
from safetensors.torch import save_file

import corpus
import evaluate
import tokens
from evaluate import Term

MODELS = ("base-small", "tuned-small", "base-large", "tuned-large")
ADAPTERS = ("tuned-small", "terse", "full")
COUNTS = {"short": 16, "long": 10, "portrait": 4}
ROWS = 12  # the last positions of each prompt whose logits are kept
MARGIN = 1e-2  # the smallest lead, in logits, of a chosen token, so that other roundings give the same text


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def write(zoo):
    """Writes reference/logits.safetensors and reference/greedy.json."""
    m = {name: load(zoo / name) for name in MODELS}
    adapted = {name: peft.PeftModel.from_pretrained(load(zoo / "base-small"), zoo / "adapters" / name).eval()
               for name in ADAPTERS}
    test = corpus.questions("test")
    few = [next(q for q in test if q.kind == kind) for kind in ("short", "long")]

    logits = {}
    for index, question in enumerate(few):
        for chat in (False, True):
            ids = tokens.prompt(question.question, chat) + tokens.answer(question.answer)
            key = f"{index}.{'chat' if chat else 'plain'}"
            logits[f"ids.{key}"] = torch.tensor(ids)
        ids = {chat: logits[f"ids.{index}.{'chat' if chat else 'plain'}"] for chat in (False, True)}
        for name, network in m.items():
            chat = name.startswith("tuned")
            logits[f"{name}.{index}"] = network(input_ids=ids[chat][None]).logits[0, -ROWS:].clone()
        for name, network in adapted.items():
            logits[f"adapters/{name}.{index}"] = network(input_ids=ids[True][None]).logits[0, -ROWS:].clone()
    (zoo / "reference").mkdir(exist_ok=True)
    save_file(logits, zoo / "reference/logits.safetensors")

    combinations = {name: [Term(m[name], name.startswith("tuned"))] for name in MODELS}
    combinations["base-large + tuned-small - base-small"] = evaluate.upscaled(
        m["base-large"], m["tuned-small"], m["base-small"])
    combinations["base-large + 0.5 terse + 0.5 full - base-small"] = [
        Term(m["base-large"], False), Term(adapted["terse"], True, 0.5), Term(adapted["full"], True, 0.5),
        Term(m["base-small"], False, -1.0)]
    found = {}
    for name, terms in combinations.items():
        found[name] = []
        for kind, count in COUNTS.items():
            asked = [q for q in test if q.kind == kind][: 2 * count]
            texts = evaluate.greedy(terms, asked)
            rows = [evaluate.forced(term, asked, texts) for term in terms]
            kept = []
            for index, (question, text) in enumerate(zip(asked, texts)):
                scores = sum(term.weight * row[index] for term, row in zip(terms, rows))
                top = scores.topk(2).values
                margin = (top[:, 0] - top[:, 1]).min().item()
                if margin >= MARGIN:
                    kept.append(dict(question=question.question, kind=kind, margin=round(margin, 4),
                                     plain=tokens.prompt(question.question, False),
                                     chat=tokens.prompt(question.question, True), ids=text))
            found[name] += kept[:count]
    lines = [f" {json.dumps(name)}: [\n" + ",\n".join("  " + json.dumps(row) for row in rows) + "\n ]"
             for name, rows in found.items()]
    (zoo / "reference/greedy.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
