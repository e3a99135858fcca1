"""Checks every export against the safetensors, and the safetensors against the reference outputs.

usage: python check.py      (needs torch, transformers, peft, onnxruntime and gguf; the exit code is 1 if a check fails)

ONNX graphs run as in decoding: the prompt at once, then one token at a time with past keys and values, in a batch whose
rows are padded on the left by different lengths.
"""

import json
import pathlib
import sys

import numpy
import onnxruntime
import peft
import torch
import transformers
from safetensors.torch import load_file

import corpus
import evaluate
import reference
import tokens
from evaluate import Term

ZOO = pathlib.Path(__file__).parent
BAR = 1e-3  # in logits; each library sums float32 in another order


@torch.no_grad()
def torch_logits(network, ids):
    return network(input_ids=torch.tensor([ids])).logits[0].numpy()


def onnx_logits(path, texts, prompt):
    """Returns the logits of every position from the last of the prompt on, computed step by step on left-padded rows."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    width = max(map(len, texts))
    ids = numpy.array([[0] * (width - len(text)) + text for text in texts])
    mask = numpy.array([[0] * (width - len(text)) + [1] * len(text) for text in texts])
    positions = numpy.maximum(mask.cumsum(1) - 1, 0)
    past = {i.name: numpy.zeros((len(texts), i.shape[1], 0, i.shape[3]), numpy.float32)
            for i in session.get_inputs() if i.name.startswith("past")}
    names = [o.name for o in session.get_outputs()]
    rows, at = [], 0
    for end in range(prompt, width + 1):
        out = dict(zip(names, session.run(None, {
            "input_ids": ids[:, at:end], "attention_mask": mask[:, :end], "position_ids": positions[:, at:end], **past})))
        past = {name: out[name.replace("past_key_values", "present")] for name in past}
        rows.append(out["logits"][:, -1])
        at = end
    return numpy.stack(rows, 1)


def main():
    worst = {}
    asked = [q for q in corpus.questions("test") if q.kind != "portrait"][:6]

    def note(what, ours, theirs):
        worst[what] = max(worst.get(what, 0.0), float(numpy.abs(ours - theirs).max()))

    for name in reference.MODELS:
        chat = name.startswith("tuned")
        network = reference.load(ZOO / name)
        texts = [tokens.prompt(q.question, chat) + tokens.answer(q.answer) for q in asked]
        truths = [torch_logits(network, text) for text in texts]
        if (ZOO / name / "model.onnx").exists():
            # The shortest row must begin within the prompt that is fed at once.
            prompt = max(map(len, texts)) - min(map(len, texts)) + 2
            for truth, row in zip(truths, onnx_logits(ZOO / name / "model.onnx", texts, prompt)):
                count = min(len(row), len(truth))
                note(f"{name}/model.onnx", row[-count:], truth[-count:])
        file = f"{name}-f16.gguf"
        if (ZOO / "gguf" / file).exists():
            other = transformers.AutoModelForCausalLM.from_pretrained(ZOO / "gguf", gguf_file=file, dtype=torch.float32)
            words = transformers.AutoTokenizer.from_pretrained(ZOO / "gguf", gguf_file=file)
            for text, truth in zip(texts, truths):
                note(f"gguf/{file}", torch_logits(other.eval(), text), truth)
            same = transformers.AutoTokenizer.from_pretrained(ZOO / name)
            for question in asked:
                plain = corpus.PLAIN.format(question=question.question)
                if words(plain)["input_ids"] != same(plain)["input_ids"]:
                    worst[f"gguf/{file}: tokenizer"] = float("inf")
        words = transformers.AutoTokenizer.from_pretrained(ZOO / name)
        for question in asked:
            rendered = words.apply_chat_template([{"role": "user", "content": question.question}],
                                                 add_generation_prompt=True, return_dict=False)
            if rendered != tokens.prompt(question.question, chat):
                worst[f"{name}: chat template"] = float("inf")

    logits = load_file(ZOO / "reference/logits.safetensors")
    for name in reference.MODELS:
        network = reference.load(ZOO / name)
        for index in range(2):
            ids = logits[f"ids.{index}.{'chat' if name.startswith('tuned') else 'plain'}"].tolist()
            note("reference/logits.safetensors", torch_logits(network, ids)[-reference.ROWS:], logits[f"{name}.{index}"].numpy())
    merged = reference.load(ZOO / "tuned-small")
    adapted = peft.PeftModel.from_pretrained(reference.load(ZOO / "base-small"), ZOO / "adapters/tuned-small").eval()
    for question in asked:
        ids = tokens.prompt(question.question, True) + tokens.answer(question.answer)
        note("adapters/tuned-small beside tuned-small (the merged weights were rounded once more)",
             torch_logits(adapted, ids), torch_logits(merged, ids))

    m = {name: reference.load(ZOO / name) for name in reference.MODELS}
    terms = evaluate.upscaled(m["base-large"], m["tuned-small"], m["base-small"])
    kept = json.loads((ZOO / "reference/greedy.json").read_text())["base-large + tuned-small - base-small"]
    by_question = {q.question: q for q in corpus.questions("test")}
    again = evaluate.greedy(terms, [by_question[row["question"]] for row in kept])
    if again != [row["ids"] for row in kept]:
        worst["reference/greedy.json"] = float("inf")

    for what, off in worst.items():
        print(f"{off:.1e}  {what}")
    sys.exit(any(off > BAR for what, off in worst.items() if "rounded once more" not in what))


if __name__ == "__main__":
    main()
