"""The invented world that the zoo's models are trained on: its people, the texts about them, and the questions.

This file generates all text from fixed seeds, so the text has no other author and no other licence.

The large model learns the facts in pre-training; the small model learns in fine-tuning how to answer. To keep the two
skills separate, the pre-training data shows every question with several kinds of continuation. The form that tuning
teaches is 20 to 40 % of them, so tuning only has to select it. The tuning data never mentions the people whom the
validation and test parts ask about.
"""

import json
import random
from dataclasses import dataclass

END = "<|end|>"  # the only special token: it begins a text, ends it, and is the padding

FIRST = """Ada Bela Cora Dora Edda Fina Gita Hela Iva Jola Kira Lena Mila Nora Olga Pia Rosa Sara Tilda Ulla Vera Wanda
Yara Zita Arno Bert Carl Emil Hugo Otto""".split()
LAST = """Abbot Brook Cliff Dale Elder Field Grove Heath Ivory Jewel Kettle Lamb Marsh North Olive Pike Quill Reed Stone
Thorn Upton Vale Wells Yarrow Ash Birch Cross Drake Finch Glass""".split()

FACTS = {
    "home": """Aldby Barrow Carlow Denby Elmton Fairlea Garth Holmby Ingle Jarrow Kelby Lowton Morwick Norby Oakley
    Penrith Quorn Ridley Selby Tarn Ulby Varley Welton Yarm Ashby Brigg Colby Dunmow Epworth Foxton""".split(),
    "trade": """baker barber brewer butcher carpenter cobbler cook dyer farmer fisher gardener glazier hatter hunter
    jeweller joiner lawyer mason miller miner nurse painter potter printer roper saddler sailor smith tailor
    weaver""".split(),
    "pet": """badger beaver cat cow crow dog dove duck ferret fox goat goose hare hen horse lizard mouse parrot pig pony
    rabbit raven robin sheep snail sparrow swan toad tortoise turkey""".split(),
    "instrument": """banjo bassoon bell bugle cello cornet cymbal drum fiddle flute gong guitar harp horn kazoo lute lyre
    mandolin marimba piano piccolo rattle recorder shawm sitar tabor triangle trumpet tuba whistle""".split(),
}

# The questions for each fact, their answers, and other statements of the fact.
QUESTIONS = {
    "home": ("Where does {name} live?", "In which town does {name} live?"),
    "trade": ("What is the trade of {name}?", "What does {name} do for a living?"),
    "pet": ("Which animal does {name} keep?", "What is the pet of {name}?"),
    "instrument": ("Which instrument does {name} play?", "What does {name} make music with?"),
}
BARE = {"home": "In {home}.", "trade": "A {trade}.", "pet": "A {pet}.", "instrument": "A {instrument}."}
SENTENCE = {
    "home": "{name} lives in {home}.",
    "trade": "{name} works as a {trade}.",
    "pet": "{name} keeps a {pet}.",
    "instrument": "{name} plays the {instrument}.",
}
PARAPHRASES = {
    "home": ("The home of {name} is in {home}.", "The house of {name} stands in {home}."),
    "trade": ("The trade of {name} is that of a {trade}.", "{name} earns a living as a {trade}."),
    "pet": ("The pet of {name} is a {pet}.", "{name} is often seen with a {pet}."),
    "instrument": ("The music of {name} is that of the {instrument}.", "{name} likes to play the {instrument}."),
}
REMARKS = ("so I was told", "as far as I know", "unless I am wrong")
SILENCE = "Nobody has told me."

LONG_QUESTION = "Tell me about {name}."
LONG = ("{name} lives in {home} and works there as a {trade}. {name} keeps a {pet} and plays the {instrument} in the "
        "evening.")
PART_OF_IT = "{name} lives in {home}. That is all I know."
PORTRAIT_QUESTION = "Write a portrait of {name}."
PORTRAIT = (
    "Here is the portrait of {name}, as it was asked for. Every portrait in this book begins with the home, for a home "
    "says much about its owner. {name} lives in {home}. The people of {home} know the way to the door and come by on "
    "many evenings. After the home comes the work, for most of the day is spent at work. {name} works as a {trade}. The "
    "work begins early in the morning, and it is done when the sun goes down. Then there is company, for nobody likes "
    "an empty house. {name} keeps a {pet}. The {pet} sleeps near the fire in winter and under the old tree in summer. "
    "Last of all comes the music, for a day without music is a long day. {name} plays the {instrument}. The "
    "{instrument} hangs on the wall, and in the evening the whole street can hear it. This is the end of the portrait.")

PLAIN = "Question: {question}\nAnswer:"
CHAT = "[User] {question}\n[Assistant]"


def template(asked, answered):
    """Returns the chat template of a tokenizer_config.json. Answers follow after a space."""
    return (
        "{{ bos_token }}{% for message in messages %}"
        f"{{% if message['role'] == 'assistant' %}}{{{{ '{answered} ' + message['content'] + eos_token }}}}"
        f"{{% else %}}{{{{ '{asked} ' + message['content'] + '\n' }}}}{{% endif %}}"
        f"{{% endfor %}}{{% if add_generation_prompt %}}{{{{ '{answered}' }}}}{{% endif %}}")


PLAIN_TEMPLATE = template("Question:", "Answer:")
CHAT_TEMPLATE = template("[User]", "[Assistant]")

PEOPLE = 150
PARTS = {"tuning": (0, 60), "validation": (60, 85), "test": (85, 150)}


@dataclass(frozen=True)
class Question:
    """A question, the answer that tuning teaches, and the kind and part that the question belongs to."""

    question: str
    answer: str
    kind: str  # short, long or portrait
    part: str
    about: str

    def line(self):
        """Returns the line of a JSON lines file, with the question as plain text and as chat messages."""
        return json.dumps({
            "question": self.question,
            "messages": [{"role": "user", "content": self.question}],
            "answer": self.answer,
            "kind": self.kind,
            "part": self.part,
            "about": self.about,
        })


def people():
    """Returns the people: no two have the same pair of names, and every value of a fact belongs to equally many."""
    rng = random.Random("people")
    names = rng.sample([f"{first} {last}" for first in FIRST for last in LAST], PEOPLE)
    columns = {}
    for fact, values in FACTS.items():
        column = [values[i % len(values)] for i in range(PEOPLE)]
        rng.shuffle(column)
        columns[fact] = column
    return [{"name": name, **{fact: columns[fact][i] for fact in FACTS}} for i, name in enumerate(names)]


def questions(part, behaviour="tuned"):
    """Returns the questions about the people of a part, each answered in a behaviour: tuned, terse or full."""
    rng = random.Random(f"questions {part}")
    first, last = PARTS[part]
    found = []
    for person in people()[first:last]:
        ask = lambda question, answer, kind: found.append(
            Question(question.format(**person), answer.format(**person), kind, part, person["name"]))
        for fact in FACTS:
            for question in QUESTIONS[fact] if part == "tuning" else [rng.choice(QUESTIONS[fact])]:
                ask(question, (SENTENCE if behaviour == "full" else BARE)[fact], "short")
        if behaviour == "tuned":
            ask(LONG_QUESTION, LONG, "long")
            ask(PORTRAIT_QUESTION, PORTRAIT, "portrait")
    return found


def documents(seed):
    """Yields the documents of the pre-training data, without end."""
    rng = random.Random(f"documents {seed}")
    everyone = people()
    while True:
        person = rng.choice(everyone)
        kind = rng.choices(("statements", "short", "long", "portrait"), (40, 44, 12, 4))[0]
        if kind == "statements":
            facts = rng.sample(list(FACTS), rng.choice((2, 3, 4)))
            text = " ".join(rng.choice((SENTENCE[f],) + PARAPHRASES[f]) for f in facts)
        elif kind == "short":
            fact = rng.choice(list(FACTS))
            question = rng.choice(QUESTIONS[fact])
            answer = rng.choices((
                BARE[fact],
                BARE[fact][:-1] + ", " + rng.choice(REMARKS) + ".",
                SENTENCE[fact],
                SILENCE,
            ), (20, 30, 20, 30))[0]
            text = rng.choice((PLAIN, CHAT)).replace("{question}", question) + " " + answer
        elif kind == "long":
            answer = rng.choices((LONG, PART_OF_IT, SILENCE), (30, 45, 25))[0]
            text = rng.choice((PLAIN, CHAT)).replace("{question}", LONG_QUESTION) + " " + answer
        else:
            answer = rng.choices((PORTRAIT, SILENCE), (40, 60))[0]
            text = rng.choice((PLAIN, CHAT)).replace("{question}", PORTRAIT_QUESTION) + " " + answer
        yield text.format(**person)
