"""Texts by llama.cpp's server, of the wheel `xllamacpp`, with a draft model or without.

usage: llama_server.py THREADS MODEL.gguf [DRAFT.gguf]

Reads commands from stdin: `text TOKENS ID...` continues the tokens of a prompt greedily by TOKENS others. Prints the
seconds of a token, without the time of reading the prompt, and how many tokens were drafted and accepted.
"""
import json, sys, urllib.request

import xllamacpp


def main():
    threads, model, *draft = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.hostnames = model, 1024, 1, ["127.0.0.1"]
    # Port 0 is a free one.
    params.port = 0
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = int(threads)
    if draft:
        speculative = params.speculative
        speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        speculative.draft.mparams.path = draft[0]
        for cpu in (speculative.draft.cpuparams, speculative.draft.cpuparams_batch):
            cpu.n_threads = int(threads)
    server = xllamacpp.Server(params)
    print("ready", flush=True)
    for line in sys.stdin:
        tokens, *ids = map(int, line.split()[1:])
        body = {"prompt": ids, "n_predict": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        request = urllib.request.Request(server.listening_address + "/completion", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            timings = json.load(answer)["timings"]
        print(timings["predicted_ms"] / timings["predicted_n"] / 1e3, timings.get("draft_n", 0),
              timings.get("draft_n_accepted", 0), flush=True)


main()
