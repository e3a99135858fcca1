"""Makes the zoo from scratch: corpus, pre-training, tuning, measurements, exports.

usage: python make.py [--seeds 0 1 2] [--only STAGE...] [--work DIR] [--threads N]

Needs torch, transformers, peft, onnx and gguf. Results that are finished in the work directory (DIR, by default
target/zoo) are not made again. The seed determines the initial weights and the order of the documents and of the tuning
data; the people, their facts, the questions and the tokenizer are the same for all seeds. The checkpoints of seed 0 are
exported. STAGE is one of pretrain, tune_small, tune_large, experiments, measure, export and
report.
"""

import argparse
import json
import pathlib
import random
import shutil
import statistics

import peft
import torch
import transformers

import corpus
import evaluate
import experiments
import export
import pretrain
import reference
import tokens
import tune
from evaluate import Term

ZOO = pathlib.Path(__file__).parent
EXPORTED_SEED = 0
SMALL = dict(rank=8, lr=3e-3, steps=120, every=20)
# All of these settings are tried on every seed; the validation part selects one, before the test part is used.
LARGE = [dict(rank=8, lr=lr, steps=120, every=30) for lr in (1e-3,)]
# The adapters of experiments.py are taken after a fixed number of steps, so nothing selects them.
CURVE = dict(large=dict(rank=8, lr=1e-3, steps=60, every=60), small=dict(rank=8, lr=3e-3, steps=60, every=60))
NEWCOMERS = dict(rank=8, lr=2e-3, steps=300, every=300)
MOVED = dict(rank=8, lr=3e-3, steps=300, every=300)
MAYORS = dict(rank=8, lr=4e-3, steps=600, every=600)
MIX = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)


def load(folder):
    """Loads a checkpoint in float32, with the rounded values."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                             attn_implementation="eager").eval()


def save_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def pretrain_stage(work, seed):
    # The wide model only serves speculation, so it is made for the exported seed alone.
    for size in ("small", "large", "wide") if seed == EXPORTED_SEED else ("small", "large"):
        folder = work / f"base-{size}"
        if not (folder / "log.json").exists():
            network, log = pretrain.pretrain(size, seed)
            export.hugging_face(export.rounded(network), folder, chat=False)
            save_json(folder / "log.json", log)


def validation_hits(network):
    """Returns the share of short and long validation questions that a tuned model answers right, word for word."""
    asked = [q for q in corpus.questions("validation") if q.kind != "portrait"]
    return sum(evaluate.right(asked, evaluate.greedy([Term(network, True)], asked, 40))) / len(asked)


def tune_small_stage(work, seed):
    for behaviour in ("tuned", "terse", "full"):
        folder = work / ("adapters/tuned-small" if behaviour == "tuned" else f"adapters/{behaviour}")
        if not (folder / "log.json").exists():
            network, log = tune.tune(load(work / "base-small"), behaviour, seed, **SMALL)
            export.adapter(network, folder, "../../base-small")
            if behaviour == "tuned":
                merged = export.rounded(network.merge_and_unload())
                export.hugging_face(merged, work / "tuned-small", chat=True)
            save_json(folder / "log.json", log)


def tune_large_stage(work, seed):
    if not (work / "tuned-large/log.json").exists():
        logs, best = [], None
        for settings in LARGE:
            network, log = tune.tune(load(work / "base-large"), "tuned", seed, **settings, judge=validation_hits)
            logs.append(log)
            score = max(score for _, score in log["judged"])
            if best is None or score > best[0]:
                best = score, network, settings
        export.hugging_face(export.rounded(best[1].merge_and_unload()), work / "tuned-large", chat=True)
        save_json(work / "tuned-large/log.json", dict(chosen=best[2], validation=best[0], tried=logs))


def experiments_stage(work, seed):
    """Makes the adapters and the pair of another tokenizer that experiments.py describes, for the exported seed alone."""
    if seed != EXPORTED_SEED:
        return
    kinds = {f"curve-{size}-{count}": (size, experiments.curve(count), CURVE[size])
             for size in ("small", "large") for count in experiments.CURVE}
    kinds["newcomers"] = "large", experiments.newcomer_questions()[0], NEWCOMERS
    kinds["moved"] = "small", experiments.moved_questions()[0], MOVED
    kinds["mayors"] = "small", experiments.mayor_questions()[0], MAYORS
    kinds["record"] = "small", experiments.record_questions("tuning"), SMALL | dict(every=SMALL["steps"])
    for name, (size, questions, settings) in kinds.items():
        folder = work / "experiments" / name
        if not (folder / "log.json").exists():
            network, log = tune.tune(load(work / f"base-{size}"), "tuned", seed, **settings, questions=questions)
            export.adapter(network, folder, f"../../base-{size}")
            save_json(folder / "log.json", log | dict(behaviour=name, questions=len(questions)))
    base, tuned = work / "experiments/other-base-small", work / "experiments/other-tuned-small"
    if not (base / "log.json").exists():
        network, log = pretrain.pretrain("small", seed, other=True)
        export.hugging_face(export.rounded(network), base, chat=False, other=True)
        save_json(base / "log.json", log)
    if not (tuned / "log.json").exists():
        network, log = tune.tune(load(base), "tuned", seed, **SMALL, other=True)
        export.hugging_face(export.rounded(network.merge_and_unload()), tuned, chat=True, other=True)
        save_json(tuned / "log.json", log)


def models(folder):
    return {name: load(folder / name) for name in ("base-small", "tuned-small", "base-large", "tuned-large")}


def combinations(m):
    """Returns the terms of what is measured: the four models, and base-large plus the difference of the small models."""
    return {
        "base-small": [Term(m["base-small"], False)],
        "tuned-small": [Term(m["tuned-small"], True)],
        "base-large": [Term(m["base-large"], False)],
        "up-scaled": evaluate.upscaled(m["base-large"], m["tuned-small"], m["base-small"]),
        "tuned-large": [Term(m["tuned-large"], True)],
    }


def measure_stage(work, seed):
    if (work / "results.json").exists():
        return
    m = models(work)
    asked = corpus.questions("test")
    hits, texts = {}, {}
    for name, terms in combinations(m).items():
        texts[name] = evaluate.greedy(terms, asked)
        hits[name] = evaluate.right(asked, texts[name])
        shares = {kind: statistics.mean(h for h, q in zip(hits[name], asked) if q.kind == kind)
                  for kind in ("short", "long", "portrait")}
        print(f"seed {seed}, {name}: {shares}", flush=True)
    save_json(work / "results.json", dict(
        seed=seed,
        hits={name: [int(hit) for hit in row] for name, row in hits.items()},
        steps=steps(m, asked, texts["up-scaled"]),
        alphas=alphas(m, [q for q in asked if q.kind == "short"]),
        mixture=mixture(work, m),
    ))


def alphas(m, asked):
    """Returns the share of right answers at several strengths of the delta. The tables use strength 1."""
    return {alpha: statistics.mean(evaluate.right(asked, evaluate.greedy(
        evaluate.upscaled(m["base-large"], m["tuned-small"], m["base-small"], alpha), asked, 40)))
        for alpha in (0.5, 0.75, 1.0, 1.25, 1.5)}


def steps(m, asked, texts):
    """Returns the shares of tokens in the up-scaled texts that the base alone, and the draft, would have written too."""
    found = {}
    for kind in ("short", "long", "portrait"):
        chosen = [(q, text) for q, text in zip(asked, texts) if q.kind == kind]
        qs, ts = zip(*chosen)
        agree = {}
        for name, chat in (("base-large", False), ("tuned-small", True)):
            rows = evaluate.forced(Term(m[name], chat), qs, ts)
            agree[name] = [(row.argmax(-1) == torch.tensor(text)).tolist() for row, text in zip(rows, ts)]
        flat = {name: [a for text in rows for a in text] for name, rows in agree.items()}
        found[kind] = dict(
            tokens=len(flat["base-large"]),
            changed_by_delta=1 - statistics.mean(flat["base-large"]),
            draft_agrees=statistics.mean(flat["tuned-small"]),
            accepted={block: evaluate.drafted(agree["tuned-small"], block) for block in (2, 4, 8, 16)},
        )
    return found


def mixture(work, m):
    """Mixes two behaviours on the large base: the share of answers in each style, and of right answers."""
    adapted = {name: peft.PeftModel.from_pretrained(load(work / "base-small"), work / "adapters" / name).eval()
               for name in ("terse", "full")}
    styles = {name: corpus.questions("test", name) for name in adapted}
    rows = []
    for share in MIX:
        terms = [Term(m["base-large"], False), Term(adapted["terse"], True, share),
                 Term(adapted["full"], True, 1 - share), Term(m["base-small"], False, -1.0)]
        asked = [q for q in styles["terse"] if q.kind == "short"]
        texts = evaluate.greedy(terms, asked, 40)
        starts = [q.about.split()[0] == tokens.tokenizer().decode(t).split()[0] for q, t in zip(asked, texts)]
        rows.append(dict(
            terse=share,
            in_full_sentences=statistics.mean(starts),
            mean_tokens=statistics.mean(map(len, texts)),
            right_terse=statistics.mean(evaluate.right(asked, texts)),
            right_full=statistics.mean(evaluate.right([q for q in styles["full"] if q.kind == "short"], texts)),
        ))
        print(rows[-1], flush=True)
    return rows


def export_stage(work):
    """Writes the exported seed's checkpoints in every format, the questions and the reference outputs, beside this file."""
    for name, network in models(work).items():
        chat = name.startswith("tuned")
        shutil.rmtree(ZOO / name, ignore_errors=True)
        export.hugging_face(network, ZOO / name, chat)
        export.onnx_decoder(network, ZOO / name / "model.onnx")
        if name != "tuned-large":
            (ZOO / "gguf").mkdir(exist_ok=True)
            export.gguf_file(network, ZOO / "gguf" / f"{name}-f16.gguf", name, chat)
    export.gguf_file(load(work / "base-wide"), ZOO / "gguf/base-wide-q8_0.gguf", "base-wide", chat=False, kind="Q8_0")
    shutil.rmtree(ZOO / "adapters", ignore_errors=True)
    shutil.copytree(work / "adapters", ZOO / "adapters", ignore=shutil.ignore_patterns("log.json"))
    export_experiments(work)
    (ZOO / "questions").mkdir(exist_ok=True)
    for part in ("tuning", "validation", "test"):
        for kind in ("short", "long", "portrait"):
            lines = [q.line() for q in corpus.questions(part) if q.kind == kind]
            (ZOO / f"questions/{part}-{kind}.jsonl").write_text("".join(line + "\n" for line in lines))
    reference.write(ZOO)


def export_experiments(work):
    """Copies what experiments.py describes, and writes the questions that it is tested on."""
    shutil.rmtree(ZOO / "experiments", ignore_errors=True)
    shutil.copytree(work / "experiments", ZOO / "experiments", ignore=shutil.ignore_patterns("log.json"))
    asked = {
        "newcomers": experiments.newcomer_questions()[1],
        "moved": experiments.moved_questions()[1],
        "mayors": experiments.mayor_questions()[1],
        "record": experiments.record_questions("test"),
    }
    for name, questions in asked.items():
        path = ZOO / f"experiments/{name}/questions.jsonl"
        path.write_text("".join(q.line() + "\n" for q in questions))


def gap(hits):
    """Returns the share of the gap between base-large and tuned-large that up-scaling closes."""
    base, ours, tuned = (sum(hits[name]) for name in ("base-large", "up-scaled", "tuned-large"))
    return (ours - base) / max(1, tuned - base)


def bootstrap(hits, asked, rounds=2000):
    """Returns the gap's 95 % bootstrap interval. People are resampled, since the questions about one are not independent."""
    rng = random.Random("bootstrap")
    about = {}
    for index, question in enumerate(asked):
        about.setdefault(question.about, []).append(index)
    groups = list(about.values())
    found = []
    for _ in range(rounds):
        drawn = [index for group in rng.choices(groups, k=len(groups)) for index in group]
        found.append(gap({name: [row[index] for index in drawn] for name, row in hits.items()}))
    found.sort()
    return found[round(0.025 * rounds)], found[round(0.975 * rounds)]


def report_stage(folders):
    """Prints the tables of the README, and saves their data beside this file."""
    results = [json.loads((folder / "results.json").read_text()) for folder in folders]
    asked = corpus.questions("test")
    lines = ["| right, word for word | short | long | portrait | all | each seed |", "| --- | --- | --- | --- | --- | --- |"]
    for name in results[0]["hits"]:
        cells = []
        for kinds in (("short",), ("long",), ("portrait",), ("short", "long", "portrait")):
            hits = [h for r in results for h, q in zip(r["hits"][name], asked) if q.kind in kinds]
            share, low, high = evaluate.wilson(sum(hits), len(hits))
            cells.append(f"{share:.1%} ({low:.1%} to {high:.1%})")
        seeds = [statistics.mean(r["hits"][name]) for r in results]
        lines.append(f"| {name} | {' | '.join(cells)} | {', '.join(f'{s:.1%}' for s in seeds)} |")
    for r in results:
        low, high = bootstrap(r["hits"], asked)
        lines.append(f"gap closed, seed {r['seed']}: {gap(r['hits']):.1%} ({low:.1%} to {high:.1%})")
    print("\n".join(lines))
    logs = {}
    for folder in folders:
        for path in sorted(folder.rglob("log.json")):
            logs[str(path.parent.relative_to(folder.parent))] = json.loads(path.read_text())
    save_json(ZOO / "results.json", dict(results=results, logs=logs))


def main():
    stages = ("pretrain", "tune_small", "tune_large", "experiments", "measure", "export", "report")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=stages, default=stages)
    parser.add_argument("--work", type=pathlib.Path, default=ZOO.parent / "target/zoo")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folders = [args.work / f"seed-{seed}" for seed in args.seeds]
    for seed, work in zip(args.seeds, folders):
        work.mkdir(parents=True, exist_ok=True)
        for stage in (pretrain_stage, tune_small_stage, tune_large_stage, experiments_stage, measure_stage):
            if stage.__name__.removesuffix("_stage") in args.only:
                stage(work, seed)
    if "export" in args.only and EXPORTED_SEED in args.seeds:
        export_stage(args.work / f"seed-{EXPORTED_SEED}")
    if "report" in args.only:
        report_stage(folders)


if __name__ == "__main__":
    main()
