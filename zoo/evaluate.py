"""Greedy answers of models and of their combinations, and the share of answers that are right, word for word."""

import math
from collections import defaultdict
from dataclasses import dataclass

import torch

import tokens


@dataclass
class Term:
    """A model in a combination: its weight, and whether it sees the chat template or the plain question."""

    network: torch.nn.Module
    chat: bool
    weight: float = 1.0


def upscaled(base, tuned, small, alpha=1.0):
    """base + alpha (tuned - small)."""
    return [Term(base, False), Term(tuned, True, alpha), Term(small, False, -alpha)]


@torch.no_grad()
def greedy(terms, questions, limit=200):
    """Returns the greedy continuation of each question, as ids. It ends with 0 unless the limit cut it.

    Questions whose prompts are equally long for every term run as one batch, so nothing is padded.
    """
    groups = defaultdict(list)
    for index, question in enumerate(questions):
        prompts = [tokens.prompt(question.question, term.chat) for term in terms]
        groups[tuple(map(len, prompts))].append((index, prompts))
    texts = [None] * len(questions)
    for group in groups.values():
        inputs = [torch.tensor([prompts[term] for _, prompts in group]) for term in range(len(terms))]
        caches = [None] * len(terms)
        written = [[] for _ in group]
        alive = torch.ones(len(group), dtype=torch.bool)
        for _ in range(limit):
            row = 0.0
            for term, source in enumerate(terms):
                out = source.network(input_ids=inputs[term], past_key_values=caches[term], use_cache=True,
                                     logits_to_keep=1)
                caches[term] = out.past_key_values
                row = row + source.weight * out.logits[:, -1]
            chosen = row.argmax(-1)
            for index, token in enumerate(chosen.tolist()):
                if alive[index]:
                    written[index].append(token)
            alive &= chosen != 0
            if not alive.any():
                break
            inputs = [chosen[:, None]] * len(terms)
        for (index, _), ids in zip(group, written):
            texts[index] = ids
    return texts


@torch.no_grad()
def forced(term, questions, texts):
    """Returns the logits of a term for each token of given texts, at the position before that token."""
    found = []
    for question, text in zip(questions, texts):
        prompt = tokens.prompt(question.question, term.chat)
        logits = term.network(input_ids=torch.tensor([prompt + text])).logits[0]
        found.append(logits[len(prompt) - 1 : -1])
    return found


def right(questions, texts):
    """Returns for each question whether the text equals the answer, token for token, and ends there."""
    return [text == tokens.answer(question.answer) for question, text in zip(questions, texts)]


def wilson(hits, count, z=1.96):
    """Returns the share of hits, with its 95 % Wilson interval."""
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return share, middle - half, middle + half


def drafted(agreements, block):
    """Returns the share of drafted tokens that are accepted when blocks of a draft are compared with the target's text.

    `agreements` holds, for each token of each text, whether the draft would have written it. A block ends at its first
    disagreement, after which the target's token is taken; a block accepted whole is followed by one more such token.
    """
    accepted = offered = 0
    for text in agreements:
        at = 0
        while at < len(text):
            block_here = text[at : at + block]
            good = next((i for i, agrees in enumerate(block_here) if not agrees), len(block_here))
            accepted += good
            offered += len(block_here)
            at += good + 1
    return accepted / offered
