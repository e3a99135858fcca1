"""Pre-training: Llamas of several sizes on the same stream of documents."""

import itertools
import math
import time

import torch
import transformers

import corpus
import tokens
from muon import Muon

ROW = 208  # tokens in a sequence: about the length of the longest document

SIZES = {
    "small": dict(hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=2),
    "large": dict(hidden_size=192, intermediate_size=448, num_hidden_layers=4, num_attention_heads=6),
    # As large as a file of 12 MB in Q8_0 can be: it shows what speculation gains if the draft is much smaller.
    "wide": dict(hidden_size=512, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=8),
}
# Sequences in a step, steps, and the peak learning rates of matrices (Muon) and of the rest (AdamW).
SCHEDULES = {
    "small": dict(rows=10, steps=400, muon=0.02, adam=3e-3),
    "large": dict(rows=10, steps=520, muon=0.02, adam=4e-3),
    "wide": dict(rows=10, steps=400, muon=0.02, adam=3e-3),
}


def model(size, vocab):
    """Returns a new model, whose weights are drawn from torch's generator."""
    config = transformers.LlamaConfig(
        **SIZES[size], num_key_value_heads=SIZES[size]["num_attention_heads"], vocab_size=vocab,
        max_position_embeddings=512, rope_parameters=dict(rope_type="default", rope_theta=10_000.0), rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=0, attn_implementation="eager")
    return transformers.LlamaForCausalLM(config)


def batches(seed, count, encode):
    """Yields batches of full sequences without end: documents one after another, an end token before each.

    A document may be cut at the end of a sequence. If documents were kept whole, long answers would be at the beginning
    of sequences more often than short ones, and the model would learn that the beginning of a text requires a long answer.
    """
    texts = corpus.documents(seed)
    pool = []
    while True:
        while len(pool) < count * ROW + 1:
            for ids in encode(list(itertools.islice(texts, 1000)))["input_ids"]:
                pool += ids
        block = torch.tensor(pool[: count * ROW + 1])
        yield block[:-1].view(count, ROW), block[1:].view(count, ROW)
        del pool[: count * ROW]


def loss(network, ids, targets):
    """Returns the mean cross entropy of the targets, in nats."""
    logits = network(input_ids=ids, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def rate(step, steps):
    """The learning rate schedule: warm-up over 5 % of the steps, then a cosine down to a twentieth."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def optimisers(network, muon, adam):
    """Muon for the matrices between layers, AdamW for the embedding and the norms."""
    inner = [p for n, p in network.named_parameters() if p.ndim == 2 and "embed" not in n]
    outer = [p for n, p in network.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        Muon(inner, lr=muon, weight_decay=0.01),
        torch.optim.AdamW(outer, lr=adam, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def pretrain(size, seed, other=False):
    """Trains a model, and returns it with the log. With equal seeds, small and large read the same documents. `other`
    chooses the other tokenizer."""
    encode = tokens.tokenizer(other=other)
    schedule = SCHEDULES[size]
    torch.manual_seed(seed)
    network = model(size, len(encode)).train()
    optimise = optimisers(network, schedule["muon"], schedule["adam"])
    stream = batches(seed, schedule["rows"], encode)
    log = dict(schedule, size=size, seed=seed, parameters=network.num_parameters(), losses=[])
    start, seen, total = time.time(), 0, 0.0
    for step in range(schedule["steps"]):
        ids, targets = next(stream)
        for optimiser, peak in zip(optimise, (schedule["muon"], schedule["adam"])):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate(step, schedule["steps"])
        value = loss(network, ids, targets)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimiser in optimise:
            optimiser.step()
            optimiser.zero_grad()
        seen += targets.numel()
        total += value.item()
        if (step + 1) % 50 == 0:
            log["losses"].append(round(total / 50, 4))
            print(f"{size} {seed}: step {step + 1}, loss {total / 50:.4f}, {time.time() - start:.0f} s", flush=True)
            total = 0.0
    log.update(tokens=seen, minutes=round((time.time() - start) / 60, 2))
    return network.eval(), log
