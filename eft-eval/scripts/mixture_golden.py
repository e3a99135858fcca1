#!/usr/bin/env python3
"""Writes tests/goldens/mixture.json: learned mixtures computed by numpy, in double precision.

    python eft-eval/scripts/mixture_golden.py
"""

import json
import pathlib

import numpy as np

OUT = pathlib.Path(__file__).parent.parent / "tests/goldens/mixture.json"
WIDTH = 40
rng = np.random.default_rng(7)


def log_softmax(x):
    return x - x.max(-1, keepdims=True) - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))


def features(rows, entropy, top):
    """The features of all sources at one position, one source after the other."""
    found = []
    for row in rows:
        if entropy:
            found.append(-(np.exp(row) * row).sum())
        found.extend(np.sort(row)[::-1][:top])
    return np.array(found)


def function(sources, entropy, top, hidden):
    inputs = sources * (entropy + top)
    widths = [inputs, *hidden, sources]
    layers = [
        dict(weights=rng.normal(size=(b, a)).tolist(), bias=rng.normal(size=b).tolist())
        for a, b in zip(widths, widths[1:])
    ]
    return dict(
        sources=sources,
        features=dict(entropy=bool(entropy), top=top),
        mean=rng.normal(size=inputs).tolist(),
        scale=rng.uniform(0.5, 2.0, size=inputs).tolist(),
        layers=layers,
    )


def weights(f, x):
    x = (x - np.array(f["mean"])) / np.array(f["scale"])
    for i, layer in enumerate(f["layers"]):
        if i > 0:
            x = np.tanh(x)
        x = np.array(layer["weights"]).reshape(len(layer["bias"]), len(x)) @ x + np.array(layer["bias"])
    return np.exp(log_softmax(x))


cases = []
for sources, entropy, top, hidden in [(2, 0, 0, ()), (2, 1, 0, ()), (2, 1, 1, (6,)), (3, 1, 2, (4, 3)), (2, 0, 3, (5,))]:
    f = function(sources, entropy, top, hidden)
    positions = []
    for sharpness in (0.3, 1.0, 3.0):
        # Rounded to single precision, in which the library holds logits.
        logits = rng.normal(scale=sharpness, size=(sources, WIDTH)).astype(np.float32).astype(np.float64)
        rows = log_softmax(logits)
        x = features(rows, entropy, top)
        w = weights(f, x)
        mixture = np.log((w[:, None] * np.exp(rows)).sum(0))
        positions.append(dict(logits=logits.tolist(), features=x.tolist(), weights=w.tolist(), mixture=mixture.tolist()))
    cases.append(dict(function=f, positions=positions))
OUT.write_text(json.dumps(cases) + "\n")
