"""Measures how many tokens a second a running server writes for one client and for many at once.

    cargo run --release -p eft-serve -- --port 8000
    python eft-serve/tests/clients/throughput.py http://127.0.0.1:8000 --model large

The same requests are sent by one client, one after the other, and then by all clients together; this is repeated in turns, so
that both see the same machine. Each request begins with a number of its own, so that no prompt is found in a cache. Printed are
tokens a second, their ratio, and the time from a request to its first token. Only Python's standard library is needed.

With --score, the requests are those of lm-eval for log-likelihoods: four choices for each question, whose tokens are scored.
Tokens are those of prompts then. With --other, a second server takes turns with the first one, so that the two can be compared.
"""

import argparse
import http.client
import json
import queue
import statistics
import threading
import time
import urllib.parse

WORDS = "the river runs past old stone houses and a mill where two brothers grind corn for the whole valley".split()


def prompt(args, number, run):
    """A prompt whose length depends on the number alone. When prompts are scored, four in a row are one question's choices."""
    if args.score:
        choice, number = WORDS[number % 4 :: 4], number // 4
        return f"{question(args, number, run)}: {' '.join(choice)}"
    return question(args, number, run)


def question(args, number, run):
    length = args.prompt_words // 2 + number * 7 % max(args.prompt_words, 1)
    words = (WORDS[(number + at) % len(WORDS)] for at in range(length))
    return f"{run:04d}{number:04d} {' '.join(words)}"


def ask(connection, args, number, run):
    """Sends a request, and returns its number of tokens and the seconds until its first one."""
    body = {"model": args.model, "prompt": prompt(args, number, run), "seed": number, "temperature": args.temperature}
    if args.score:
        body |= {"max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0}
    else:
        body |= {"max_tokens": args.tokens, "stream": True, "stream_options": {"include_usage": True}}
    headers = {"Content-Type": "application/json"}
    if args.key:
        headers["Authorization"] = f"Bearer {args.key}"
    sent, first, tokens = time.perf_counter(), None, None
    connection.request("POST", "/v1/completions", json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {response.read().decode()}")
    if args.score:
        return json.load(response)["usage"]["prompt_tokens"], time.perf_counter() - sent
    for line in response:
        if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
            continue
        part = json.loads(line[6:])
        if "error" in part:
            raise RuntimeError(part["error"]["message"])
        first = first or time.perf_counter()
        tokens = (part.get("usage") or {}).get("completion_tokens", tokens)
    return tokens, first - sent


def measure(args, url, clients, run):
    """Sends all requests by this many clients. Returns tokens a second and the times to first tokens."""
    waiting, done, failed = queue.SimpleQueue(), [], []
    for number in range(args.requests):
        waiting.put(number)

    def client():
        address = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = kind(address.hostname, address.port)
        try:
            while not failed:
                done.append(ask(connection, args, waiting.get_nowait(), run))
        except queue.Empty:
            pass
        except Exception as error:
            failed.append(error)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failed:
        raise SystemExit(f"FAILED: {failed[0]}")
    return sum(tokens for tokens, _ in done) / seconds, [wait for _, wait in done]


def share(values, part):
    values = sorted(values)
    return values[min(int(len(values) * part), len(values) - 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the address of the server, without /v1")
    parser.add_argument("--model", default="eft", help="the model or combination")
    parser.add_argument("--clients", type=int, default=16, help="the number of clients that ask at once")
    parser.add_argument("--requests", type=int, default=32, help="the number of requests in each turn")
    parser.add_argument("--rounds", type=int, default=3, help="how often each has its turn")
    parser.add_argument("--tokens", type=int, default=64, help="the most tokens of a text")
    parser.add_argument("--prompt-words", type=int, default=32, help="about how many words a prompt has")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--key", help="the server's key, if it asks for one")
    parser.add_argument("--score", action="store_true", help="score prompts instead of writing texts")
    parser.add_argument("--other", metavar="URL", help="a second server, with which the first one is compared")
    args = parser.parse_args()

    turns = [(url, clients) for clients in (1, args.clients) for url in (args.url, args.other) if url]
    for url in {url for url, _ in turns}:  # not counted: caches of the processor, page faults
        measure(argparse.Namespace(**{**vars(args), "requests": 4}), url, 1, 0)
    rates, waits = {turn: [] for turn in turns}, {turn: [] for turn in turns}
    for run in range(1, args.rounds + 1):
        for turn in turns:
            # The servers are sent the same requests.
            rate, waited = measure(args, *turn, 2 * run + (turn[1] > 1))
            rates[turn].append(rate)
            waits[turn].extend(waited)
    for turn in turns:
        url, clients = turn
        each = ", ".join(f"{rate:.1f}" for rate in rates[turn])
        first = f"{share(waits[turn], 0.5) * 1e3:.0f} ms (p50), {share(waits[turn], 0.95) * 1e3:.0f} ms (p95)"
        what = "answered" if args.score else "first token"
        print(f"{url} {clients:3} clients: {statistics.median(rates[turn]):7.1f} tokens/s ({each}); {what} after {first}")

    def ratio(what, above, below):
        ratios = [a / b for a, b in zip(rates[above], rates[below])]
        print(f"{what}: {statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")

    for url in dict.fromkeys(url for url, _ in turns):
        ratio(f"{url}: {args.clients} clients to 1", (url, args.clients), (url, 1))
    if args.other:
        for clients in (1, args.clients):
            ratio(f"{clients} clients: first server to second", (args.url, clients), (args.other, clients))


if __name__ == "__main__":
    main()
