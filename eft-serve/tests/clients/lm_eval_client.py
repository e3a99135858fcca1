"""Evaluates a running server with EleutherAI's lm-eval, on the zoo's questions.

    pip install "lm-eval[api]" transformers torch      # without torch, results are not compared
    cargo run --release -p eft-serve -- --port 8000
    python eft-serve/tests/clients/lm_eval_client.py http://127.0.0.1:8000

The tasks are defined in files that the script writes: one of log-likelihoods (which of four answers is the likeliest) and one
of generation. If torch is installed, the log-likelihood of every answer is compared with what transformers computes for the
same combination of models. It prints the scores, and ends with an error if an item differs.

With --model and --tokenizer, it evaluates another model than the zoo's combination, and compares nothing. The time that the
log-likelihoods took is printed.
"""

import argparse
import json
import pathlib
import tempfile
import time

ZOO = pathlib.Path(__file__).resolve().parents[3] / "zoo"

COMMON = """
dataset_path: json
dataset_kwargs:
  data_files: {{test: "{data}"}}
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
"""

CHOICE = COMMON + """
task: zoo_choice
output_type: multiple_choice
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{label}}}}"
target_delimiter: " "
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""

WRITE = COMMON + """
task: zoo_write
output_type: generate_until
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 12, do_sample: false, temperature: 0}}
metric_list:
  - {{metric: exact_match, regexes_to_ignore: ["^ "], aggregation: mean, higher_is_better: true}}
"""


def questions(limit):
    lines = (ZOO / "questions" / "test-short.jsonl").read_text().splitlines()[:limit]
    items = [json.loads(line) for line in lines]
    for index, item in enumerate(items):
        others = [items[(index + step) % len(items)]["answer"] for step in (1, 2, 3)]
        choices = others[:]
        choices.insert(index % 4, item["answer"])
        yield {"question": item["question"], "answer": item["answer"], "choices": choices, "label": index % 4}


def reference():
    """A function from token ids to the log-probs of the next tokens at all positions, of the zoo's combination."""
    import torch
    from transformers import AutoModelForCausalLM

    load = lambda name: AutoModelForCausalLM.from_pretrained(ZOO / name, dtype=torch.float32).eval()
    large, small, tuned = load("base-large"), load("base-small"), load("tuned-small")

    def log_probs(ids):
        with torch.no_grad():
            logits = [model(torch.tensor([ids])).logits[0] for model in (large, tuned, small)]
        return torch.log_softmax(logits[0] + logits[1] - logits[2], -1)

    return log_probs


def compare(samples):
    try:
        log_probs = reference()
    except ImportError:
        print("torch is not installed: log-likelihoods are not compared")
        return
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ZOO / "tuned-small")
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
    compared, largest = 0, 0.0
    for sample in samples:
        for arguments, response in zip(sample["arguments"], sample["filtered_resps"]):
            context, continuation = arguments[0], arguments[1]
            whole, before = encode(context + continuation), len(encode(context))
            rows = log_probs(whole)
            expected = sum(float(rows[at - 1, whole[at]]) for at in range(before, len(whole)))
            greedy = all(int(rows[at - 1].argmax()) == whole[at] for at in range(before, len(whole)))
            difference = abs(expected - float(response[0]))
            compared, largest = compared + 1, max(largest, difference)
            if difference > 1e-4 or greedy != (str(response[1]) == "True"):
                raise SystemExit(f"FAILED: {arguments}: {response}, but transformers has {expected}, {greedy}")
    print(f"{compared} log-likelihoods equal those of transformers; the largest difference is {largest:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the address of the server, without /v1")
    parser.add_argument("--limit", type=int, default=40, help="the number of questions")
    parser.add_argument("--model", default="eft", help="the model or combination")
    parser.add_argument("--tokenizer", default=str(ZOO / "tuned-small"), help="the folder or id of its tokenizer")
    parser.add_argument("--clients", type=int, default=4, help="the number of requests at once")
    args = parser.parse_args()
    import lm_eval
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = folder / "questions.jsonl"
        data.write_text("".join(json.dumps(item) + "\n" for item in questions(args.limit)))
        (folder / "choice.yaml").write_text(CHOICE.format(data=data))
        (folder / "write.yaml").write_text(WRITE.format(data=data))
        model = LocalCompletionsAPI(
            base_url=f"{args.url}/v1/completions",
            model=args.model,
            tokenizer=args.tokenizer,
            tokenizer_backend="huggingface",
            num_concurrent=args.clients,
            max_length=512,
        )
        seconds, asked = [], model.loglikelihood

        def timed(requests, **settings):
            began = time.perf_counter()
            answers = asked(requests, **settings)
            seconds.append(time.perf_counter() - began)
            return answers

        model.loglikelihood = timed
        results = lm_eval.simple_evaluate(
            model=model,
            tasks=["zoo_choice", "zoo_write"],
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            log_samples=True,
            bootstrap_iters=0,
        )
    for task, scores in results["results"].items():
        print(task, {name: value for name, value in scores.items() if isinstance(value, (int, float))})
    print(f"{4 * args.limit} log-likelihoods in {sum(seconds):.2f} s")
    if args.model == "eft":
        compare(results["samples"]["zoo_choice"])
    print("all checks have passed")


if __name__ == "__main__":
    main()
