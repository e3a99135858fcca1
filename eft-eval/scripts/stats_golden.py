"""Computes by scipy what `tests/stats.rs` compares the statistics of this crate with.

    pip install numpy scipy
    python scripts/stats_golden.py        # writes tests/goldens/stats.json

The inputs are drawn once from fixed seeds and stored beside the results.
"""

import json
import pathlib

import numpy as np
import scipy
from scipy import stats

RESAMPLES = 200_000
LEVELS = [0.8, 0.95]


def bootstrap(data, statistic, level):
    """The percentile interval over resampled units; `data` has an array of one number a unit for each sample."""
    result = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=2_000,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    low, high = result.confidence_interval
    return {"level": level, "low": low, "high": high, "deviation": result.standard_error}


def totals(scores, clusters):
    """The sum of the scores of each cluster, and its number of items."""
    return np.bincount(clusters, weights=scores), np.bincount(clusters).astype(float)


def mean_case(scores, clusters):
    def mean(sums, items, axis=-1):
        return sums.sum(axis=axis) / items.sum(axis=axis)

    data = totals(scores, clusters)
    return {
        "scores": scores.tolist(),
        "clusters": clusters.tolist(),
        "value": float(np.mean(scores)),
        "intervals": [bootstrap(data, mean, level) for level in LEVELS],
    }


def difference_case(a, b, clusters):
    case = mean_case(a - b, clusters)
    case.pop("scores")
    wins, losses = int((a > b).sum()), int((a < b).sum())
    p_value = stats.binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
    return case | {"a": a.tolist(), "b": b.tolist(), "wins": wins, "losses": losses, "p_value": float(p_value)}


def gap_case(base, source, reference, clusters):
    def closed(base, source, reference, items, axis=-1):
        base, source, reference, items = (x.sum(axis=axis) for x in (base, source, reference, items))
        return (source - base) / (reference - base)

    data = [totals(x, clusters)[0] for x in (base, source, reference)] + [totals(base, clusters)[1]]
    return {
        "base": base.tolist(),
        "source": source.tolist(),
        "reference": reference.tolist(),
        "clusters": clusters.tolist(),
        "value": float((source.mean() - base.mean()) / (reference.mean() - base.mean())),
        "intervals": [bootstrap(data, closed, level) for level in LEVELS],
    }


def slope(x, y, axis=-1):
    x = x - x.mean(axis=axis, keepdims=True)
    return (x * y).sum(axis=axis) / (x * x).sum(axis=axis)


def power_law_case(x, y):
    kept = y > 0
    log_x, log_y = np.log(x[kept]), np.log(y[kept])
    fit = stats.linregress(log_x, log_y)
    margins = {level: stats.t.ppf(0.5 + level / 2, len(log_x) - 2) * fit.stderr for level in LEVELS}
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "excluded": np.flatnonzero(~kept).tolist(),
        "exponent": float(fit.slope),
        "factor": float(np.exp(fit.intercept)),
        "r_squared": float(fit.rvalue**2),
        "by_t": [
            {"level": level, "low": float(fit.slope - margin), "high": float(fit.slope + margin)}
            for level, margin in margins.items()
        ],
        "intervals": [bootstrap((log_x, log_y), slope, level) for level in LEVELS],
    }


def curve_case(x, scores, clusters):
    """A power law through the mean scores of items; `scores` has a row for each `x`."""
    log_x = np.log(x)

    def exponent(*columns, axis=-1):
        *sums, items = (column.sum(axis=axis) for column in columns)
        return slope(log_x, np.log(np.stack(sums, axis=-1) / items[..., None]))

    data = [totals(row, clusters)[0] for row in scores] + [totals(scores[0], clusters)[1]]
    return {
        "x": x.tolist(),
        "scores": scores.tolist(),
        "clusters": clusters.tolist(),
        "intervals": [bootstrap(data, exponent, level) for level in LEVELS],
    }


def main():
    rng = np.random.default_rng(20)
    alone = np.arange(60)
    uneven = np.repeat(np.arange(16), [1, 7, 2, 5, 3, 4, 1, 6, 3, 2, 8, 4, 3, 5, 4, 2])
    right = (rng.random(60) < 0.7).astype(float)
    by_cluster = (rng.random(60) < rng.random(16)[uneven]).astype(float)
    scores = rng.normal(2.0, 1.5, 60)
    better = (rng.random(60) < 0.85).astype(float)
    worse = (rng.random(60) < 0.2).astype(float)

    sign_tests = [(0, 0), (1, 0), (0, 5), (3, 3), (7, 8), (40, 20), (151, 100), (0, 400), (1000, 1100)]
    doublings = 2.0 ** np.arange(12)
    y = 0.7 * doublings**0.4 * np.exp(rng.normal(0, 0.2, 12))
    y[[2, 9]] = [0.0, -0.5]
    levels = np.array([2.0, 8.0, 32.0, 128.0, 512.0])
    curve = np.clip(0.1 * levels[:, None] ** 0.3 + rng.normal(0, 0.15, (5, 60)), 0.01, None)

    golden = {
        "scipy": scipy.__version__,
        "numpy": np.__version__,
        "resamples": RESAMPLES,
        "means": [mean_case(right, alone), mean_case(by_cluster, uneven), mean_case(scores, uneven)],
        "differences": [
            # Not of right and wrong answers to independent items: their mean difference moves in steps of 1/60, and where
            # a percentile lies between two steps, the random numbers decide which it is.
            difference_case(scores, rng.normal(1.0, 1.0, 60), alone),
            difference_case(by_cluster, right, uneven),
            difference_case(right, worse, uneven),
        ],
        "gaps": [gap_case(worse, right, better, alone), gap_case(worse, by_cluster, better, uneven)],
        "sign_tests": [
            {"wins": w, "losses": l, "p_value": float(stats.binomtest(w, w + l, 0.5).pvalue) if w + l else 1.0}
            for w, l in sign_tests
        ],
        "power_laws": [
            power_law_case(doublings, y),
            power_law_case(rng.uniform(0.1, 50.0, 30), rng.uniform(1e-6, 3.0, 30)),
        ],
        "curves": [curve_case(levels, curve, alone), curve_case(levels, curve, uneven)],
    }
    path = pathlib.Path(__file__).parent.parent / "tests" / "goldens" / "stats.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(golden, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
