"""Renders one construct after the other by jinja2 as transformers configures it, for `constructs.json`.

    python constructs.py

Templates in use have each of them. Written with transformers 5, jinja2 3.1.
"""

import json
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).parent
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "How warm is it? <°C>",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "enum": ["Oslo", "Łódź"]}, "days": {"type": ["integer", "null"], "default": 1.5}}}}}]
CALL = [{"type": "function", "id": "c1", "function": {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}}]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is it cold?", "name": "Ann"},
    {"role": "assistant", "content": None, "tool_calls": CALL},
    {"role": "tool", "content": "-3", "tool_call_id": "c1", "name": "weather"},
    {"role": "assistant", "content": "Yes.", "reasoning": "It is -3."},
    {"role": "user", "content": [{"type": "text", "text": "Why?"}, {"type": "image"}]},
]
# The test reads messages by a library that sorts the entries of objects.
TALK = json.loads(json.dumps(TALK, sort_keys=True))
DOCUMENTS = [{"title": "Ice", "text": "It is cold.\n"}, {"title": "Fire", "text": "It is hot."}]
VARIABLES = {"enable_thinking": False, "nested": {"b": [1, 2.5, None, True], "a": {"x": "é"}}, "none_set": None,
             "words": ["one", "two", "three"], "long": {"key_" + str(i): "value " * 3 + str(i) for i in range(6)}}

CONSTRUCTS = [
    # Tools, calls, documents, variables.
    "{{ tools | tojson }}", "{{ tools | tojson(indent=4) }}", "{{ tools[0].function.parameters.properties.city.enum | join('/') }}",
    "{% if tools is not none %}{% for t in tools %}{{ t['function']['name'] }}({{ t.function.parameters.properties.keys() | list | join(', ') }}){% endfor %}{% endif %}",
    "{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function | tojson }}{{ c['id'] }}{% endfor %}{% endif %}{% endfor %}",
    "{% for m in messages if m.role == 'tool' %}{{ m.name }}#{{ m.tool_call_id }}: {{ m.content }}{% endfor %}",
    "{% for m in messages %}{{ m.role }}{% if m.content is string %}={{ m.content }}{% elif m.content is iterable and m.content is not mapping %}=[{% for p in m.content %}{{ p.type }}{% if 'text' in p %}:{{ p.text }}{% endif %};{% endfor %}]{% endif %}\n{% endfor %}",
    "{% for m in messages %}{{ 'content' in m }}{{ m.content is defined }}{{ m.get('content', 'nothing') }};{% endfor %}",
    "{% for m in messages %}{{ m.reasoning_content | default('-') }}{{ m.thinking | default('-') }}{{ m.reasoning | default('-') }}{% endfor %}",
    "{% for m in messages %}{{ m.tool_calls is defined and m.tool_calls is not none }}{% endfor %}",
    "{% for d in documents %}{{ loop.index }}. {{ d.title }}\n{{ d['text'] | trim }}\n{% endfor %}",
    "{{ enable_thinking is defined and enable_thinking is false }}{{ none_set is none }}{{ nothing is defined }}",
    "{{ nested | tojson }}{{ nested.a.x }}{{ nested['b'][1] }}{{ nested.b | length }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='role') | list }}",
    "{{ (messages | selectattr('role', 'equalto', 'user') | list | last)['role'] }}{{ messages[-1].role }}{{ messages[1:3] | length }}{{ messages[::-1][0].role }}",
    # Blocks of the assistant's words, and what they hide.
    "a{% generation %}b{{ 1 + 1 }}{% endgeneration %}c", "{%- generation -%} b {%- endgeneration -%} c",
    "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "{% for w in words %}{% generation %}{{ loop.index }}{{ w }}{% endgeneration %}{% endfor %}",
    "{% set generation = 'g' %}{{ generation }}",
    # Formatting by `%`.
    "{{ '%s-%d' % ('a', 3) }}", "{{ 'x%s' % 'y' }}", "{{ '%s' % 3 }}{{ '%s' % none }}{{ '%s' % true }}", "{{ '%5.2f|%-5s|%05d|%x|%e' % (3.14159, 'ab', 42, 255, 12345.678) }}",
    "{{ '%(a)s and %(b)d' % {'a': 'x', 'b': 2} }}", "{{ '100%% %s' % 'sure' }}", "{{ '%r' % 'quoted' }}{{ '%5d|%-8r|%s' % (1, \"it's\", 2) }}{{ '%d|%r' % (1, none) }}", "{{ '%s' % ['list', 1] }}", "{{ ('%s' * 2) % ('a', 'b') }}",
    "{{ 'a' + '%s' % 'b' + 'c' }}", "{{ '%s' % words | join('+') }}", "{{ '%s' % (words | length) }}", "{{ '%s %s' | format('a', 2) }}", "{{ '%.3s' % 'abcdef' }}",
    "{{ 7 % 3 }}{{ -7 % 3 }}{{ 7 % -3 }}{{ 7.5 % 2 }}{{ -7.5 % 2 }}", "{{ 2 * 7 % 4 }}{{ 10 - 7 % 4 }}{{ 2 ** 3 % 5 }}", "{% for i in range(5) if i % 2 == 0 %}{{ i }}{% endfor %}",
    "{% if messages | length % 2 %}odd{% else %}even{% endif %}", "{{ 'x' if 3 % 2 else 'y' }}", "{% set n = 17 % 5 %}{{ n }}", "{{ [1 % 2, 5 % 3] }}{{ {'a': 9 % 4}.a }}", "{{ (1 + 6) % (2 + 1) }}", "{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 / 2 }}",
    # Strings.
    "{{ 'one \\\ntwo' }}", "{{ \"a\\\n  b\" }}", "{{ 'tab\\there' }}|{{ 'x\\x41\\u00e9\\101' }}|{{ 'q\\'q' }}|{{ 'back\\\\slash' }}|{{ '\\d' }}", "{{ 'a' 'b' \"c\" }}", "{{ '{% not a tag %}' }}{{ '}}' }}{{ \"'\" }}",
    "{{ 'abc'.index('c') }}", "{{ 'abcabc'.rindex('b') }}", "{{ 'prefix-x'.removeprefix('prefix-') }}{{ 'x'.removeprefix('y') }}{{ 'x.py'.removesuffix('.py') }}", "{{ 'a=b=c'.partition('=') }}{{ 'a=b=c'.rpartition('=') }}{{ 'abc'.partition('=') }}",
    "{{ 'a b c'.rsplit(' ', 1) }}{{ ' a  b '.rsplit() }}{{ 'a,b,c'.rsplit(',') }}", "{{ 'aB'.swapcase() }}{{ 'Straße'.casefold() }}", "{{ '7'.zfill(3) }}{{ '-7'.zfill(4) }}{{ 'ab'.ljust(4, '.') }}{{ 'ab'.rjust(4) }}{{ 'ab'.center(5, '*') }}{{ 'abc'.center(6, '*') }}",
    "{{ 'a-b'.split('-') }}{{ 'a b'.split() }}{{ 'abc'.find('z') }}{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ ' x '.strip() }}{{ 'abab'.count('ab') }}{{ 'x'.join(['a', 'b']) }}{{ 'abc'.upper() }}{{ 'hi there'.title() }}{{ 'a\nb'.splitlines() }}",
    "{{ 'abc'[1] }}{{ 'abc'[-1] }}{{ 'abc'[:2] }}{{ 'abc'[::-1] }}{{ 'abc' | length }}{{ 'b' in 'abc' }}", "{{ ['a', 'b', 'c'].index('b') }}", "{{ ['a', 'b', 'a'].count('a') }}", "{{ words.index('three') }}",
    "{{ '{} {x}'.format(1, x=2) }}{{ 'a' ~ 1 ~ none ~ true ~ 1.5 }}",
    # Numbers.
    "{{ 1e20 }}", "{{ 1e5 }}{{ 1.5e-7 }} {{ 0.0001 }} {{ 123456789012345678.0 }} {{ 1e16 }} {{ 1e15 }} {{ 2.0 }} {{ -0.5 }}", "{{ [1e20, 2.0, none, true, 'a', \"it's\"] }}", "{{ {'a': 1e-7, 'b': (1, 2), 'c': (1,)} }}", "{{ 1e20 | tojson }} {{ 1.0 | tojson }} {{ [0.1, 100] | tojson }}", "{{ 1_000 }}", "{{ 3 | float }}{{ '3' | int }}{{ 2.7 | round }}{{ 2.75 | round(1) }}{{ 5 | abs }}",
    # JSON.
    "{{ nested | tojson(sort_keys=true) }}", "{{ nested | tojson(separators=(',', ':')) }}", "{{ nested | tojson(indent=2, sort_keys=true) }}", "{{ nested | tojson(ensure_ascii=true) }}", "{{ nested | tojson(indent=1, separators=(';', '=')) }}", "{{ '<b>&\"\\u00e9😀' | tojson }}", "{{ '😀é' | tojson(ensure_ascii=true) }}", "{{ {1: 'a', true: 'b', none: 'c', 1.5: 'd'} | tojson }}", "{{ (1, 'a') | tojson }}", "{{ [] | tojson(indent=2) }}{{ {} | tojson(indent=2) }}{{ [[], {}] | tojson(indent=2) }}", "{{ nested | tojson(indent='--') }}", "{{ nested | tojson(false, 2) }}",
    # Tests and filters.
    "{{ 'x' is sequence }}{{ [1] is sequence }}{{ {} is sequence }}{{ 1 is sequence }}{{ none is sequence }}", "{{ 'x' is iterable }}{{ [1] is iterable }}{{ {} is iterable }}{{ 1 is iterable }}", "{{ 'x' is mapping }}{{ {} is mapping }}{{ 1 is number }}{{ 1.5 is float }}{{ true is boolean }}{{ 'x' is string }}{{ undefined_name is undefined }}{{ none is none }}",
    "{{ 'one two, three_four  5' | wordcount }}{{ '' | wordcount }}", "{{ nested | attr('a') }}|{{ messages[0] | attr('role') }}|", "{% set ns = namespace(x=5) %}{{ ns | attr('x') }}", "{{ words | pprint }}{{ 'a' | pprint }}{{ 1.5 | pprint }}", "{{ long | pprint }}", "{{ nested | pprint }}", "{{ ['word ' * 30] | pprint }}", "{{ ('word ' * 30) | pprint }}", "{{ tools | pprint }}",
    "{{ words | map('upper') | join(',') }}{{ words | first }}{{ words | last }}{{ words | reverse | list }}{{ words | sort | join }}{{ [3, 1] | max }}{{ [1, 1, 2] | unique | list }}{{ words | batch(2) | list }}", "{{ nested | items | list }}{{ nested | dictsort }}{{ nested.items() | list }}", "{{ words | join('-', attribute=0) if false else 'no' }}", "{{ 'a b' | replace(' ', '_') | capitalize | trim('A') }}{{ 'x' | default('y') }}{{ nothing | default('y') }}{{ none | default('y', true) }}{{ 'text' | indent(2, true) }}{{ 'a\nb' | indent(2) }}", "{{ words | select('ne', 'two') | list }}{{ words | reject('in', ['one']) | list }}{{ [1, 2, 3] | sum }}{{ [[1, 2], [3]] | sum(start=[]) }}", "{{ [{'a': 1}, {'a': 2}] | groupby('a') | list | length }}{{ [1, 2] | string }}{{ 'abc' | list }}",
    # Functions.
    "{% set j = joiner(', ') %}{% for w in words %}{{ j() }}{{ w }}{% endfor %}", "{% set j = joiner() %}{{ j() }}a{{ j() }}b", "{% set c = cycler('x', 'y') %}{% for w in words %}{{ c.next() }}{% endfor %}{{ c.current }}{% if c.reset() %}{% endif %}{{ c.next() }}", "{{ dict(a=1, b=2) }}{{ range(3) | list }}{{ range(5, 0, -2) | list }}", "{% set ns = namespace(n=0) %}{% for w in words %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "{% macro show(x, y='d') %}<{{ x }}{{ y }}>{% endmacro %}{{ show(1) }}{{ show(1, y=2) }}", "{% macro outer() %}[{{ caller() }}]{% endmacro %}{% call outer() %}inside{% endcall %}", "{% for k, v in nested.items() %}{{ k }}{{ loop.last }}{% endfor %}", "{% for w in words %}{% if loop.index == 2 %}{% continue %}{% endif %}{{ w }}{% if w == 'three' %}{% break %}{% endif %}{% endfor %}", "{% for w in words %}{{ loop.previtem | default('^') }}{{ w }}{{ loop.nextitem | default('$') }}{{ loop.cycle('a', 'b') }}{% else %}none{% endfor %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set block %}text {{ 1 }}{% endset %}{{ block | upper }}", "{% filter upper %}abc{% endfilter %}", "{% with x = 3 %}{{ x }}{% endwith %}", "{% raw %}{{ 'x' % y }}{% generation %}{% endraw %}", "{# '%s' % x #}a{#- b -#} c", "{%- set x = 'a' -%}\n  {{ x }}\n{% if true %}\nline\n{% endif %}\nend\n",
    "{{ raise_exception('No ' ~ words[0] ~ '!') }}", "{{ 1 if false }}|{{ 'a' if false else 'b' }}", "{{ not true and false or true }}{{ 1 < 2 <= 2 }}{{ 1 == 1.0 }}{{ 'a' not in words }}{{ 2 ** 10 }}{{ 'ab' * 2 }}{{ [1] + [2] }}", "{{ messages.append(1) }}", "{{ {}.update({'a': 1}) }}", "{{ nothing.more }}", "{{ 1 / 0 }}", "{{ '%d' % 'x' }}", "{{ ['a'].index('z') }}", "{{ 'abc'.index('z') }}", "{{ words | nofilter }}",
]

PREFILLS = [
    ("{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}", "Once upon "),
    ("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<end>{% endfor %}", "Once upon "),
    ("{% for m in messages %}<{{ m.role }}>{{ m.content | upper }}<end>{% endfor %}", "Once upon"),
    ("{% for m in messages %}<{{ m.role }}>{{ m.content.split('</think>')[-1] }}<end>{% endfor %}", "<think>Hm.</think>Yes"),
    ("{% for m in messages %}<{{ m.role }}>{{ m.content | replace('a', 'b') }}<end>{% endfor %}", "banana"),
    ("{% for m in messages[:-1] %}<{{ m.role }}>{{ m.content }}{% endfor %}", "gone"),
    ("{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{{ p.text }}{% endfor %}<end>{% endfor %}", [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}, {"type": "image"}]),
]


def rendered(source, messages, **settings):
    try:
        texts, _ = render_jinja_template(
            [[{k: v for k, v in m.items() if v is not None} for m in messages]], chat_template=source, **settings)
        return {"text": texts[0]}
    except Exception as error:
        return {"error": str(error).split("\n")[0]}


def main():
    settings = dict(tools=TOOLS, documents=DOCUMENTS, **VARIABLES)
    constructs = [{"source": source, **rendered(source, TALK, add_generation_prompt=True, **settings)} for source in CONSTRUCTS]
    prefills = []
    for source, content in PREFILLS:
        messages = [{"role": "user", "content": "go"}, {"role": "assistant", "content": content}]
        prefills.append({"source": source, "content": content, **rendered(source, messages, continue_final_message=True)})
    shared = {"messages": TALK, "tools": TOOLS, "documents": DOCUMENTS, **VARIABLES}
    lines = lambda cases: "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]"
    parts = [f'"{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in shared.items()]
    parts += [f'"constructs": {lines(constructs)}', f'"prefills": {lines(prefills)}']
    (HERE / "constructs.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(len(constructs), "constructs,", sum("error" in case for case in constructs), "refused")
    for case in constructs + prefills:
        if "error" in case:
            print(repr(case["source"][:60]), case["error"][:90])


if __name__ == "__main__":
    main()
