"""Fine-tuning on the questions about the people of the tuning part: low-rank adapters, stopped by the validation part."""

import copy
import itertools
import random
import time
from collections import defaultdict

import peft
import torch

import corpus
import pretrain
import tokens

BATCH = 16
IGNORED = -100  # the target of positions that do not count
MATRICES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def batches(questions, seed, other=False):
    """Yields batches without end: prompts in the chat template, with the answers as targets.

    The questions of a batch are of one kind, so that little is padded. A kind with less than a batch of questions is one
    batch; otherwise the questions that are left over are in another batch next time.
    """
    rng = random.Random(f"tuning {seed}")
    kinds = defaultdict(list)
    for q in questions:
        kinds[q.kind].append((tokens.prompt(q.question, True, other), tokens.answer(q.answer, other)))
    while True:
        epoch = []
        for examples in kinds.values():
            rng.shuffle(examples)
            epoch += [examples[at : at + BATCH] for at in range(0, max(1, len(examples) - BATCH + 1), BATCH)]
        rng.shuffle(epoch)
        yield from map(pad, epoch)


def pad(examples):
    width = max(len(prompt) + len(answer) for prompt, answer in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    targets = torch.full((len(examples), width), IGNORED)
    for row, (prompt, answer) in enumerate(examples):
        both = torch.tensor(prompt + answer)
        ids[row, : len(both)] = both
        targets[row, len(prompt) - 1 : len(both) - 1] = both[len(prompt) :]
    return ids, targets


def answer_loss(network, ids, targets):
    """Returns the mean over answers of each answer's mean cross entropy, so that long answers do not outweigh short ones."""
    logits = network(input_ids=ids, use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED,
                                               reduction="none")
    counted = targets != IGNORED
    return (losses.sum(1) / counted.sum(1)).mean()


@torch.no_grad()
def validation_loss(network, questions, other=False):
    held = list(itertools.islice(batches(questions, 0, other), len(questions) // BATCH))
    return sum(answer_loss(network, *batch).item() for batch in held) / len(held)


def tune(base, behaviour, seed, rank, lr, steps, every, judge=None, questions=None, other=False):
    """Trains an adapter over `base` for a behaviour, or on the given questions. Checkpoints are taken at regular
    intervals, and the best one by `judge` is kept (by default, the one of least loss on the validation part). Returns the
    PEFT model, frozen, and the log. `other` chooses the other tokenizer."""
    torch.manual_seed(seed)
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=MATRICES, task_type="CAUSAL_LM")
    network = peft.get_peft_model(copy.deepcopy(base), config).train()
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
    stream = batches(questions or corpus.questions("tuning", behaviour), seed, other)
    held = corpus.questions("validation", behaviour)
    judge = judge or (lambda network: -validation_loss(network, held, other))
    log = dict(behaviour=behaviour, seed=seed, rank=rank, lr=lr, steps=steps, judged=[])
    best, kept, start = None, None, time.time()
    for step in range(steps):
        ids, targets = next(stream)
        optimiser.param_groups[0]["lr"] = lr * pretrain.rate(step, steps)
        answer_loss(network, ids, targets).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if (step + 1) % every == 0:
            network.eval()
            score = judge(network)
            network.train()
            log["judged"].append((step + 1, round(score, 4)))
            if best is None or score > best:
                best, kept = score, peft.get_peft_model_state_dict(network)
                kept = {name: value.clone() for name, value in kept.items()}
                log["kept"] = step + 1
    peft.set_peft_model_state_dict(network, kept)
    log["minutes"] = round((time.time() - start) / 60, 2)
    print(f"tuned {behaviour} {seed}: rank {rank}, lr {lr}: {log['judged']}, kept {log['kept']}", flush=True)
    return network.eval(), log
