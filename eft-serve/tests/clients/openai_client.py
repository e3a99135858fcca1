"""Tests a running server with OpenAI's own Python package.

    pip install openai
    cargo run --release -p eft-serve -- --port 8000        # serves the tiny models of zoo/
    python eft-serve/tests/clients/openai_client.py http://127.0.0.1:8000

It prints one line for each check and ends with an error at the first that fails.
"""

import argparse
import concurrent.futures

import openai

QUESTION = [{"role": "user", "content": "Where does Ada Brook live?"}]


def check(name, condition, shown=""):
    if not condition:
        raise SystemExit(f"FAILED: {name} {shown}")
    print(f"ok: {name}")


def chat(client):
    answer = client.chat.completions.create(model="eft", messages=QUESTION, temperature=0)
    choice = answer.choices[0]
    check("chat: an answer", choice.message.role == "assistant" and choice.message.content.strip(), answer)
    check("chat: it ends by itself", choice.finish_reason == "stop")
    usage = answer.usage
    check("chat: usage adds up", usage.total_tokens == usage.prompt_tokens + usage.completion_tokens)

    several = client.chat.completions.create(model="eft", messages=QUESTION, temperature=2, n=3, seed=1)
    check("chat: several texts", [choice.index for choice in several.choices] == [0, 1, 2])
    again = client.chat.completions.create(model="eft", messages=QUESTION, temperature=2, n=3, seed=1)
    texts = lambda answer: [choice.message.content for choice in answer.choices]
    check("chat: one seed gives the same texts", texts(several) == texts(again))

    parts = [{"type": "text", "text": "Where does "}, {"type": "text", "text": "Ada Brook live?"}]
    split = client.chat.completions.create(
        model="eft", messages=[{"role": "user", "content": parts}], temperature=0
    )
    check("chat: a message in parts", split.choices[0].message.content == choice.message.content)

    other = client.chat.completions.create(
        model="eft", messages=QUESTION, temperature=0, max_tokens=20, extra_body={"eft": {"alpha": 0}}
    )
    large = client.chat.completions.create(model="large", messages=QUESTION, temperature=0, max_tokens=20)
    check("chat: another weight", other.choices[0].message.content == large.choices[0].message.content)


def streaming(client):
    whole = client.chat.completions.create(model="eft", messages=QUESTION, temperature=0)
    stream = client.chat.completions.create(
        model="eft", messages=QUESTION, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    parts = list(stream)
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    check("streaming: the parts are the answer", text == whole.choices[0].message.content)
    check("streaming: usage comes last", parts[-1].usage == whole.usage)

    with client.chat.completions.create(
        model="large", messages=QUESTION, stream=True, max_tokens=400, temperature=1.5
    ) as stream:
        next(iter(stream))
    check("streaming: a stream can be left", True)

    pieces = client.completions.create(model="large", prompt="Question:", max_tokens=8, temperature=0, stream=True)
    joined = "".join(part.choices[0].text for part in pieces)
    at_once = client.completions.create(model="large", prompt="Question:", max_tokens=8, temperature=0)
    check("streaming: completions", joined == at_once.choices[0].text)


def log_probs(client):
    answer = client.chat.completions.create(
        model="eft", messages=QUESTION, temperature=0, logprobs=True, top_logprobs=4
    )
    content = answer.choices[0].logprobs.content
    check("log-probs: the tokens are the text", "".join(t.token for t in content) == answer.choices[0].message.content)
    check("log-probs: the likeliest first", all(t.top_logprobs[0].token == t.token for t in content))
    legacy = client.completions.create(
        model="eft", prompt=["Who is", "Where"], max_tokens=1, temperature=0, logprobs=1, echo=True
    )
    for choice in legacy.choices:
        given = choice.logprobs
        same = len(given.tokens) == len(given.token_logprobs) == len(given.top_logprobs) == len(given.text_offset)
        check("log-probs: of a prompt", same and given.token_logprobs[0] is None and given.token_logprobs[1] <= 0)


def errors(client, url):
    def fails(kind, **fields):
        try:
            client.chat.completions.create(**{"model": "eft", "messages": QUESTION, **fields})
        except kind as error:
            return error
        raise SystemExit(f"FAILED: {fields} is accepted")

    error = fails(openai.BadRequestError, temperature=-1)
    check("errors: the field is named", error.param == "temperature", error)
    check("errors: no such model", fails(openai.NotFoundError, model="gpt").code == "model_not_found")
    long = [{"role": "user", "content": "word " * 3000}]
    check("errors: a long prompt", fails(openai.BadRequestError, messages=long).code == "context_length_exceeded")
    try:
        client.with_options(timeout=0.001, max_retries=0).chat.completions.create(model="eft", messages=QUESTION)
        raise SystemExit("FAILED: there is no time limit")
    except openai.APITimeoutError:
        check("errors: a time limit of the client", True)
    names = [model.id for model in client.models.list()]
    check("models: listed", {"eft", "large", "small", "tuned"} <= set(names), names)


def at_once(client):
    """Many requests at once: each has the text that it has alone."""
    prompts = [f"Question: Where does {name} live?\nAnswer:" for name in ["Ada Brook", "Nora Abbot", "Olga Lane"]]
    ask = lambda prompt, seed: client.completions.create(
        model="eft", prompt=prompt, seed=seed, temperature=1.2, max_tokens=12
    ).choices[0].text
    wanted = [(prompt, seed) for prompt in prompts for seed in range(4)]
    alone = [ask(*request) for request in wanted]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda request: ask(*request), wanted))
    check("at once: texts do not depend on each other", alone == together)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the address of the server, without /v1")
    parser.add_argument("--key", default="none", help="the server's key, if it asks for one")
    args = parser.parse_args()
    client = openai.OpenAI(base_url=f"{args.url}/v1", api_key=args.key)
    chat(client)
    streaming(client)
    log_probs(client)
    errors(client, args.url)
    at_once(client)
    print("all checks have passed")


if __name__ == "__main__":
    main()
