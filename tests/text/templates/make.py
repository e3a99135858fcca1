"""Renders conversations with the templates in this folder, by transformers.

    python make.py

The templates are those of Qwen 2.5, SmolLM 2, Mistral (Apache 2.0), Zephyr and Phi 3 (MIT) models, and our own for the
formats that Llama 3, Gemma and Tulu document; `extras` has other constructs that templates use. Written with
transformers 5.
"""

import json
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def talk(*contents, system=None):
    roles = ["user", "assistant"] * len(contents)
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents)]
    return ([{"role": "system", "content": system}] if system is not None else []) + messages


CONVERSATIONS = [
    talk("How do magnets work?"),
    talk("Hi", "Hello!", "And you?"),
    talk("Hi", system="You are a pirate."),
    talk("Hi", "Hello!", "And you?", system="Be brief.\n\nVery."),
    talk("  spaces before, two lines\n\n\tand behind \n ", " \n", ""),
    talk("„Größe“ — 日本語 👩‍👩‍👧 \u00a0", "é", "<b>&amp;'\"</b> {{ messages }} {% endif %}"),
    talk("Tell me a story.", "Once upon"),
    talk("Tell me a story.", "Once upon a time, ", system="Slowly."),
    talk("a", "a"),
    talk("", ""),
    talk("Hi", "Hello!", "Goodbye", "Bye"),
    [{"role": "assistant", "content": "I begin."}],
    [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}],
    [{"role": "system", "content": "alone"}],
    [{"role": "critic", "content": "a role of no model"}],
]


def rendered(source, messages):
    open_message = messages[-1]["role"] == "assistant"
    try:
        texts, _ = render_jinja_template(
            [[dict(m) for m in messages]],
            chat_template=source,
            add_generation_prompt=not open_message,
            continue_final_message=open_message,
            **TOKENS,
        )
        return {"text": texts[0]}
    except Exception as error:
        return {"error": str(error).split("\n")[0]}


def main():
    cases = []
    for template in sorted(HERE.glob("*.jinja")):
        source = template.read_text()
        for messages in CONVERSATIONS:
            cases.append({"template": template.name, "messages": messages, **rendered(source, messages)})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "golden.json").write_text(f"[\n{lines}\n]\n")
    print(len(cases), "cases,", sum("error" in case for case in cases), "refused")


if __name__ == "__main__":
    main()
