"""Makes the tokenizers in this folder, and their expected ids and texts by transformers.

    python make.py

The tokenizers are trained on the texts of the examples: byte-level BPE with the settings of Llama 3 and Qwen,
SentencePiece BPE with byte fallback as in Llama 2, and a byte-level one of 96 tokens for the tiny checkpoints.
Written with tokenizers 0.22, transformers 5.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "examples" / "data"
CORPUS = [str(DATA / "alice.txt"), str(DATA / "sonnets.txt")]

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

TEXTS = [
    "",
    "a",
    "The Queen of Hearts, she made some tarts.",
    "  leading and trailing  ",
    "runs    of   white \t\t space\n\n\nand lines\r\n",
    "I'LL we've can't 'twas",
    "naïve café — “où” ﬁ Ａ １２３ ½",
    "日本語のテキスト 中文 한국어 العربية हिन्दी",
    "👩‍👩‍👧‍👦 🇫🇷 é",
    "1234567 3.14159 1,000,000",
    "def f(x):\n    return {'a': [x**2 for _ in range(10)]}\n\n\tif x:\n\t\tpass  # no",
    "<|user|>Hi<|end|> <|end|>\n<|user|> and <|user",
    "under_score camelCase HTTPServer a.b.c/d?e=f&g",
    "\x00\x01\x7f control\u200bzero\u00a0nbsp\u3000wide",
    "<0x41> ▁ Ġ <s> </s>",
]


def special(token):
    return AddedToken(token, special=True, normalized=False)


def begun_by(tokenizer, token):
    id = tokenizer.token_to_id(token)
    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, id)])


def lines():
    """The texts, and lines on which the families' word patterns differ."""
    for file in CORPUS:
        yield from Path(file).read_text().splitlines(keepends=True)
    yield from (f"{number} {number * 37}\n" for number in range(2000))
    yield from ["I'LL DON'T WE'VE 'TWAS\n\n\n", "x = f(y);\n\n    if (x) {\n\t}\r\n"] * 400


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    # Trained on text between white space, so that there are merges across the word boundaries of the patterns.
    split = lambda words: pre_tokenizers.Split(Regex(words), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split(r"\s*\S+|\s+"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=636, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(lines(), trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split(LLAMA3), byte_level])
    tokenizer.add_special_tokens([special(t) for t in ["<|begin|>", "<|user|>", "<|end|>"]])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    tokenizer.post_processor = begun_by(tokenizer, "<|begin|>")
    return tokenizer


def pieces():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    named = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=named, show_progress=False)
    # Trained on words: without a pre-tokenizer, there would be merges across white space.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    tokenizer.train(CORPUS, trainer)
    tokenizer.pre_tokenizer = None
    parts = json.loads(tokenizer.to_str())
    parts["added_tokens"] = [token for token in parts["added_tokens"] if token["id"] < 3]
    tokenizer = Tokenizer.from_str(json.dumps(parts))
    tokenizer.post_processor = begun_by(tokenizer, "<s>")
    return tokenizer


def small():
    """Makes a tokenizer with as many tokens as the tiny checkpoints of eft-models. Bytes without a token are left out."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=94, limit_alphabet=60, show_progress=False)
    tokenizer.train(CORPUS, trainer)
    tokenizer.add_special_tokens([special("<|user|>"), special("<|end|>")])
    return tokenizer


def main():
    for name, tokenizer in {"byte-level": byte_level(), "pieces": pieces(), "small": small()}.items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        fast = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        golden = []
        for text in TEXTS:
            ids = fast(text, add_special_tokens=False)["input_ids"]
            # The decoder drops the first space, which text that continues a prompt has; the test allows for it.
            golden.append({
                "text": text,
                "bare": ids,
                "whole": fast(text)["input_ids"],
                "decoded": fast.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False),
            })
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in golden)
        (folder / "golden.json").write_text(f"[\n{lines}\n]\n")
        print(name, tokenizer.get_vocab_size())


if __name__ == "__main__":
    main()
