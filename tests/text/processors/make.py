"""Writes what reference implementations do to scores after random sequences of tokens.

    python make.py

Repeated sequences, bad words and typical sampling by transformers; the others by their definitions, written out here
plainly: DRY, top-a and XTC (text-generation-webui's pull requests 5677 and 6335, RWKV-LM); top-n-sigma (Tang et al. 2024,
and `top_n_sigma` in llama.cpp's src/llama-sampler.cpp); dynamic temperature and mirostat 2 (`temp_ext` and `mirostat_v2`
there).
"""

import json
import random
from pathlib import Path

import numpy as np
import torch
from transformers import NoBadWordsLogitsProcessor, NoRepeatNGramLogitsProcessor, TypicalLogitsWarper

HERE = Path(__file__).parent
WIDTH = 8


def forbidden(processor, tokens):
    scores = processor(torch.tensor([tokens]), torch.zeros(1, WIDTH))
    return [token for token in range(WIDTH) if scores[0, token] == float("-inf")]


def dry(tokens, multiplier, base, allowed, window, breakers):
    tokens = tokens[-window:] if window else tokens
    lengths = {}
    if tokens and tokens[-1] not in breakers:
        for i, token in enumerate(tokens[:-1]):
            follower = tokens[i + 1]
            if token != tokens[-1] or follower in breakers:
                continue
            length = 1
            while length < 50 and i - length >= 0:
                previous = tokens[-(length + 1)]
                if tokens[i - length] != previous or previous in breakers:
                    break
                length += 1
            lengths[follower] = max(lengths.get(follower, 0), length)
    return {str(t): multiplier * base ** (n - allowed) for t, n in sorted(lengths.items()) if n >= allowed}


def truncated(scores):
    """Which tokens are kept by several settings."""
    probs = torch.softmax(torch.tensor(scores, dtype=torch.float64), 0)
    order = torch.argsort(probs, descending=True)
    kept = {"top_a": {}, "xtc": {}, "typical": {}, "top_n_sigma": {}, "dynamic_temperature": {}}
    for a in [0.1, 0.5, 1.0]:
        kept["top_a"][str(a)] = [i for i, p in enumerate(probs.tolist()) if p >= a * probs.max().item() ** 2]
    for threshold in [0.05, 0.1, 0.3]:
        # Excluded are those after which there is another one above the threshold.
        removed = {order[i].item() for i in range(len(scores) - 1) if probs[order[i + 1]] >= threshold}
        kept["xtc"][str(threshold)] = [i for i in range(len(scores)) if i not in removed]
    for mass in [0.2, 0.5, 0.9, 0.95]:
        warped = TypicalLogitsWarper(mass)(None, torch.tensor([scores], dtype=torch.float64))
        kept["typical"][str(mass)] = torch.isfinite(warped[0]).nonzero().flatten().tolist()
    logits = np.array(scores)
    for n in [0.5, 1.0, 1.5]:
        kept["top_n_sigma"][str(n)] = np.flatnonzero(logits >= logits.max() - n * logits.std()).tolist()
    for low, high, exponent in [(0.5, 1.5, 1.0), (0.1, 2.0, 2.0), (1.0, 1.0, 1.0)]:
        p = np.exp(logits - logits.max())
        p /= p.sum()
        normalised = -np.sum(p * np.log(p)) / -np.log(1 / len(p))
        kept["dynamic_temperature"][f"{low} {high} {exponent}"] = low + (high - low) * normalised**exponent
    return kept


def mirostat(steps, tau, eta):
    """Which tokens are kept at each step, where every step has scores and a uniform number that a token is drawn with."""
    mu = 2 * tau
    result = []
    for scores, uniform in steps:
        logits = np.array(scores)
        p = np.exp(logits - logits.max())
        p /= p.sum()
        order = np.argsort(-p, kind="stable")
        # The first token above the bound and all after it are dropped, but never all tokens.
        size = next((i for i, token in enumerate(order) if -np.log2(p[token]) > mu), len(order))
        kept = order[: max(size, 1)]
        q = p[kept] / p[kept].sum()
        drawn = min(int(uniform * len(kept)), len(kept) - 1)
        result.append({"scores": scores, "kept": sorted(kept.tolist()), "drawn": int(kept[drawn])})
        mu -= eta * (-np.log2(q[drawn]) - tau)
    return result


def main():
    random.seed(5)
    sequences = [[random.randrange(random.choice([2, 3, 6])) for _ in range(random.randrange(1, 30))] for _ in range(60)]
    cases = []
    for tokens in sequences:
        words = [[random.randrange(6) for _ in range(random.randrange(1, 4))] for _ in range(4)]
        settings = dict(multiplier=0.75, base=random.choice([1.0, 1.75, 2.0]), allowed=random.randrange(1, 4),
                        window=random.choice([0, 10]), breakers=random.choice([[], [0], [1, 5]]))
        cases.append({
            "tokens": tokens,
            "ngrams": {str(n): forbidden(NoRepeatNGramLogitsProcessor(n), tokens) for n in range(1, 5)},
            "words": words,
            "forbidden": forbidden(NoBadWordsLogitsProcessor(words, eos_token_id=WIDTH - 1), tokens),
            "dry": settings,
            "penalties": dry(tokens, **settings),
        })
    rows = [[round(random.gauss(0, spread), 3) for _ in range(WIDTH)] for spread in (0.3, 1.0, 2.0, 4.0) for _ in range(10)]
    rows = [{"scores": scores, **truncated(scores)} for scores in rows]
    row = lambda: [round(random.gauss(0, random.choice([0.5, 2, 4])), 3) for _ in range(WIDTH)]
    texts = [{"tau": tau, "eta": eta, "steps": mirostat([(row(), random.random()) for _ in range(40)], tau, eta)}
             for tau, eta in [(1.0, 0.1), (1.5, 0.5), (0.5, 1.0), (3.0, 0.1)]]
    (HERE / "mirostat.json").write_text("[\n" + ",\n".join(json.dumps(text) for text in texts) + "\n]\n")
    (HERE / "truncations.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    (HERE / "golden.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(len(cases), "cases,", sum(bool(case["penalties"]) for case in cases), "with a DRY penalty")


if __name__ == "__main__":
    main()
