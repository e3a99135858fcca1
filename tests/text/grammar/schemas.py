"""Random JSON schemas of the kinds that people write, and whether texts are valid under them.

    python schemas.py make 40 > schemas.jsonl          # the schemas of the tests
    python schemas.py make 1000 7 3 > many.jsonl       # other ones: their number, a seed and their depth
    python schemas.py check texts.jsonl                # by the package jsonschema, which is independent of eft and llguidance

The benchmark `grammar` writes the texts of a model: see there.
"""

import json
import random
import sys

WORDS = ("id name title email age price tags items status created_at address city country score active children meta "
         "owner type value unit count url phone role level note lang x y").split()
PATTERNS = ["^[A-Z]{2}-[0-9]{4}$", "^[a-z]{3,8}$", "^(red|green|blue)$", "^#[0-9a-f]{6}$", "^\\d{3}-\\d{2}$",
            "^v[0-9]\\.[0-9]{1,2}$", "^[^\\s]{1,12}$", "^(\\+[0-9]{1,2} )?[0-9]{6}$"]
FORMATS = ["date", "time", "date-time", "ipv4", "uuid", "email"]


def string(rng):
    kind = rng.random()
    if kind < 0.45:
        low = rng.choice([0, 0, 1, 3])
        return {"type": "string", **({"minLength": low} if low else {}), "maxLength": low + rng.randrange(1, 25)}
    if kind < 0.65:
        return {"type": "string", "pattern": rng.choice(PATTERNS)}
    if kind < 0.8:
        # An address may be long, and has no other bound.
        format = rng.choice(FORMATS)
        return {"type": "string", "format": format, **({"maxLength": 40} if format == "email" else {})}
    return {"enum": rng.sample(["low", "medium", "high", "naïve", "a b", "\"quoted\"", "", "日本"], rng.randrange(1, 5))}


def number(rng):
    low = rng.choice([0, 1, -10, 100, -1000])
    high = low + rng.choice([1, 9, 50, 1234])
    schema = {"type": "integer", "minimum": low, "maximum": high}
    kind = rng.random()
    if kind < 0.2:
        schema = {"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": high + 2}
    elif kind < 0.3:
        schema["multipleOf"] = rng.choice([2, 5])
        schema["maximum"] = high + 5
    elif kind < 0.5:
        schema = {"type": "number", "minimum": low, "maximum": high + rng.choice([0, 0.5])}
    elif kind < 0.55:
        schema = {"enum": [1, 2.5, -3, 10**6]}
    return schema


def array(rng, depth, refs):
    low = rng.choice([0, 0, 1, 2])
    if rng.random() < 0.15:
        items = [schema(rng, depth - 1, refs) for _ in range(rng.randrange(1, 4))]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    return {"type": "array", "items": schema(rng, depth - 1, refs), "minItems": low, "maxItems": low + rng.randrange(1, 4)}


def object_(rng, depth, refs):
    names = rng.sample(WORDS, rng.randrange(1, 6))
    properties = {name: schema(rng, depth - 1, refs) for name in names}
    result = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [name for name in names if rng.random() < 0.6]
    if required:
        result["required"] = required
    if rng.random() < 0.1:
        # llguidance limits the number of properties only where all named ones are required.
        result["patternProperties"] = {"^_[a-z]{1,8}$": schema(rng, 0, refs)}
        result["required"], result["maxProperties"] = names, len(names) + 1
    return result


def schema(rng, depth, refs):
    kind = rng.random()
    if refs and kind < 0.12:
        return {"$ref": rng.choice(refs)}
    if depth > 0:
        if kind < 0.4:
            return object_(rng, depth, refs)
        if kind < 0.55:
            return array(rng, depth, refs)
        if kind < 0.63:
            return {"anyOf": [schema(rng, depth - 1, refs) for _ in range(rng.randrange(2, 4))]}
        if kind < 0.66:
            return {"allOf": [{"type": "object", "properties": {"id": number(rng)}, "required": ["id"]},
                              {"properties": {"name": string(rng)}, "required": ["name"]}],
                    "type": "object", "maxProperties": 2}
    return rng.choice([
        lambda: string(rng),
        lambda: string(rng),
        lambda: number(rng),
        lambda: {"type": "boolean"},
        lambda: {"type": ["integer", "null"], "minimum": 0, "maximum": 99},
        lambda: {"const": rng.choice(["fixed", 3, None, True, {"a": [1, "b"]}])},
    ])()


def document(rng, depth):
    defs = {}
    if rng.random() < 0.4:
        for name in rng.sample(["point", "person", "money"], rng.randrange(1, 3)):
            defs[name] = object_(rng, 1, [])
        if rng.random() < 0.3:
            defs["node"] = {"type": "object", "additionalProperties": False, "required": ["value", "next"],
                            "properties": {"value": number(rng), "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}}
    result = object_(rng, depth, [f"#/$defs/{name}" for name in defs])
    if rng.random() < 0.1:
        result = array(rng, depth - 1, [f"#/$defs/{name}" for name in defs])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result, **({"$defs": defs} if defs else {})}


def check(file):
    import jsonschema
    total, invalid, cut = 0, 0, 0
    for line in open(file, encoding="utf-8"):
        entry = json.loads(line)
        total += 1
        if not entry["complete"]:
            cut += 1
            print("cut off:", json.dumps(entry["schema"]), entry["text"][-80:])
            continue
        try:
            validator = jsonschema.Draft202012Validator
            checker = validator.FORMAT_CHECKER
            validator(entry["schema"], format_checker=checker).validate(json.loads(entry["text"]))
        except Exception as error:
            invalid += 1
            print("invalid:", str(error).splitlines()[0], json.dumps(entry["schema"]), entry["text"])
    print(f"{total} texts: {total - invalid - cut} valid, {invalid} invalid, {cut} cut off by the limit of tokens")


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check(sys.argv[2])
    else:
        count, seed, depth = [int(x) for x in sys.argv[2:]] + [1, 2][len(sys.argv) - 3:]
        rng = random.Random(seed)
        for _ in range(count):
            print(json.dumps(document(rng, depth), ensure_ascii=False))
