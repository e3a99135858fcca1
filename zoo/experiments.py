"""What the example `reproduce` needs beside the four models: small adapters, each made for one experiment.

- `curve`: adapters over base-large and base-small, tuned on 4, 8, 16, … 512 questions. They show how much of tuning is
  form, which a few examples teach, and how much is knowledge.
- `newcomers`: an adapter over base-large that also learns facts about people who do not occur in the pre-training data,
  and who their neighbours are. It is asked for these facts directly, and in two hops.
- `moved`: an adapter over base-small that learns that some people have moved since pre-training.
- `mayors`: an adapter over base-small that learns who is mayor in some towns, which pre-training does not tell.
- `record`: an adapter over base-small that learns another format of answers: `home: Foxton.`
- `other`: a small model before and after tuning, with a tokenizer of other merges and another size.

Everything is derived from fixed seeds, and nothing here changes the random streams of `corpus.py`.
"""

import dataclasses
import random

import corpus
from corpus import BARE, FACTS, QUESTIONS, Question

CURVE = (4, 8, 16, 32, 64, 128, 256, 512)
NEWCOMERS = 24
MOVERS = 20
MAYORS = 10
# Only words that pre-training has used: an adapter cannot teach tokens whose embeddings were never trained.
RECORD = {fact: fact + ": {" + fact + "}." for fact in FACTS}

MAYOR = "Who is the mayor of {town}?"
NEIGHBOUR = ("Who is the neighbour of {name}?", "{neighbour}.")
# Two hops: from a newcomer to the neighbour, and from the neighbour to a fact that pre-training has taught.
HOPS = {
    "home": "Where does the neighbour of {name} live?",
    "pet": "Which animal does the neighbour of {name} keep?",
}


def curve(count):
    """Returns the first `count` short and long tuning questions, in one random order: smaller sets are within larger ones."""
    found = [q for q in corpus.questions("tuning") if q.kind != "portrait"]
    random.Random("curve").shuffle(found)
    return found[:count]


def newcomers():
    """Returns people whose names do not occur in the pre-training data. Each has a neighbour of the test part."""
    rng = random.Random("newcomers")
    known = {person["name"] for person in corpus.people()}
    names = [f"{first} {last}" for first in corpus.FIRST for last in corpus.LAST]
    names = rng.sample([name for name in names if name not in known], NEWCOMERS)
    first, last = corpus.PARTS["test"]
    neighbours = rng.sample(corpus.people()[first:last], NEWCOMERS)
    return [
        {"name": name, **{fact: rng.choice(values) for fact, values in FACTS.items()}, "neighbour": neighbour["name"],
         **{f"neighbour_{fact}": neighbour[fact] for fact in FACTS}}
        for name, neighbour in zip(names, neighbours)
    ]


def newcomer_questions():
    """Returns the tuning questions and the test questions about newcomers.

    Tuning asks for each fact in one wording, and the test (kind `direct`) in the other wording. Questions in two hops
    (kind `two-hop`) are tuned on for the first half of the newcomers, and asked about the second half.
    """
    tuning, test = [], []
    for index, person in enumerate(newcomers()):
        name = person["name"]
        ask = lambda to, question, answer, kind, part: to.append(
            Question(question.format(**person), answer.format(**person), kind, part, name))
        for fact, wordings in QUESTIONS.items():
            ask(tuning, wordings[0], BARE[fact], "short", "tuning")
            ask(test, wordings[1], BARE[fact], "direct", "test")
        ask(tuning, *NEIGHBOUR, "short", "tuning")
        for fact, question in HOPS.items():
            to, part = (tuning, "tuning") if index < NEWCOMERS // 2 else (test, "test")
            answer = BARE[fact].replace("{" + fact + "}", "{neighbour_" + fact + "}")
            ask(to, question, answer, "short" if part == "tuning" else "two-hop", part)
    # The same facts as the second hop needs, asked about the neighbours themselves: the model knows them.
    people = {person["name"]: person for person in corpus.people()}
    for person in newcomers()[NEWCOMERS // 2 :]:
        neighbour = people[person["neighbour"]]
        for fact in HOPS:
            test.append(Question(QUESTIONS[fact][0].format(**neighbour), BARE[fact].format(**neighbour), "second-hop",
                                 "test", person["name"]))
        test.append(Question(NEIGHBOUR[0].format(**person), NEIGHBOUR[1].format(**person), "first-hop", "test",
                             person["name"]))
    return tuning, test


def movers():
    """Returns people of the test part who live elsewhere since pre-training: everyone with the new home and the `old` one."""
    rng = random.Random("movers")
    first, last = corpus.PARTS["test"]
    return [{**person, "old": person["home"], "home": rng.choice([h for h in FACTS["home"] if h != person["home"]])}
            for person in rng.sample(corpus.people()[first:last], MOVERS)]


def moved_questions():
    """Returns the tuning questions, which tell where the movers live now, and the test questions.

    Test questions of the kind `changed` ask about the movers, and those of the kind `unchanged` about the homes of the
    other people of the test part.
    """
    moved = movers()
    tuning = [q for q in corpus.questions("tuning") if q.kind == "short"]
    test = []
    for person in moved:
        for question in QUESTIONS["home"]:
            asked = Question(question.format(**person), BARE["home"].format(**person), "short", "tuning", person["name"])
            tuning += [asked] * 4  # as often as the form
        test.append(Question(QUESTIONS["home"][0].format(**person), BARE["home"].format(**person), "changed", "test",
                             person["name"]))
    names = {person["name"] for person in moved}
    first, last = corpus.PARTS["test"]
    for person in corpus.people()[first:last]:
        if person["name"] not in names:
            test.append(Question(QUESTIONS["home"][0].format(**person), BARE["home"].format(**person), "unchanged",
                                 "test", person["name"]))
    return tuning, test


def mayor_questions():
    """Returns the tuning questions, which tell who the mayors of some towns are, and the test questions: the same ones, since
    what is tested is whether up-scaling keeps what the small model was told.
    """
    first, last = corpus.PARTS["test"]
    mayors = random.Random("mayors").sample(corpus.people()[first:last], MAYORS)
    tuning = [q for q in corpus.questions("tuning") if q.kind == "short"]
    told = [Question(MAYOR.format(town=town), f"{person['name']}.", "new", "test", town)
            for town, person in zip(FACTS["home"], mayors)]
    return tuning + [dataclasses.replace(q, kind="short", part="tuning") for q in told] * 16, told


def record_questions(part):
    """Returns the short questions of a part, answered as records."""
    people = {person["name"]: person for person in corpus.people()}
    found = []
    for q in corpus.questions(part):
        if q.kind == "short":
            fact = next(fact for fact, wordings in QUESTIONS.items()
                        if q.question in [wording.format(name=q.about) for wording in wordings])
            found.append(Question(q.question, RECORD[fact].format(**people[q.about]), q.kind, part, q.about))
    return found
