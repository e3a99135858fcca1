"""Measures how many tokens a second a running server writes for one client and for many at once.

    cargo run --release -p eft-serve -- --port 8000
    python eft-serve/tests/clients/throughput.py http://127.0.0.1:8000 --model large

The same requests are sent by one client, one after the other, and then by all clients together; this is repeated in turns, so
that both see the same machine. Each request begins with a number of its own, so that no prompt is found in a cache. Printed are
tokens a second, their ratio, and the time from a request to its first token. Only Python's standard library is needed.
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
    """A prompt whose length depends on the number alone."""
    length = args.prompt_words // 2 + number * 7 % max(args.prompt_words, 1)
    words = (WORDS[(number + at) % len(WORDS)] for at in range(length))
    return f"{run:04d}{number:04d} {' '.join(words)}"


def ask(connection, args, number, run):
    """Sends a request, and returns its number of tokens and the seconds until its first one."""
    body = {
        "model": args.model, "prompt": prompt(args, number, run), "max_tokens": args.tokens, "seed": number,
        "temperature": args.temperature, "stream": True, "stream_options": {"include_usage": True},
    }
    headers = {"Content-Type": "application/json"}
    if args.key:
        headers["Authorization"] = f"Bearer {args.key}"
    sent, first, tokens = time.perf_counter(), None, None
    connection.request("POST", "/v1/completions", json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {response.read().decode()}")
    for line in response:
        if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
            continue
        part = json.loads(line[6:])
        if "error" in part:
            raise RuntimeError(part["error"]["message"])
        first = first or time.perf_counter()
        tokens = (part.get("usage") or {}).get("completion_tokens", tokens)
    return tokens, first - sent


def measure(args, clients, run):
    """Sends all requests by this many clients. Returns tokens a second and the times to first tokens."""
    waiting, done, failed = queue.SimpleQueue(), [], []
    for number in range(args.requests):
        waiting.put(number)

    def client():
        url = urllib.parse.urlsplit(args.url)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.hostname, url.port)
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
    args = parser.parse_args()

    measure(argparse.Namespace(**{**vars(args), "requests": 2}), 1, 0)  # not counted: caches of the processor, page faults
    run, rates, waits = 1, {1: [], args.clients: []}, {1: [], args.clients: []}
    for _ in range(args.rounds):
        for clients in (1, args.clients):
            rate, waited = measure(args, clients, run)
            rates[clients].append(rate)
            waits[clients].extend(waited)
            run += 1
    for clients in (1, args.clients):
        each = ", ".join(f"{rate:.1f}" for rate in rates[clients])
        first = f"{share(waits[clients], 0.5) * 1e3:.0f} ms (p50), {share(waits[clients], 0.95) * 1e3:.0f} ms (p95)"
        print(f"{clients:3} clients: {statistics.median(rates[clients]):7.1f} tokens/s ({each}); first token after {first}")
    ratios = [many / one for one, many in zip(rates[1], rates[args.clients])]
    print(f"ratio: {statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")


if __name__ == "__main__":
    main()
