"""Makes the GGUF files in this folder, and the expected ids of their tokenizers by llama.cpp.

    python make.py [MODEL.gguf ...]

The files hold the tokenizers of the neighbouring folders, with several pre-tokenizers, and some that are trained on the
same texts: a unigram model, and WordPiece. Each has a minimal model. For each MODEL.gguf that is given, the ids of the
same texts by llama.cpp and transformers are written to MODEL.gguf.tokens.json.
Written with gguf 0.17, sentencepiece 0.2.3, tokenizers 0.22, transformers 5, xllamacpp 2026.10.
"""

import io
import json
import sys
import urllib.request
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
import tokenizers
import xllamacpp
from sentencepiece import sentencepiece_model_pb2

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from make import CORPUS, TEXTS  # noqa: E402

# A llama.cpp server does not take null characters.
TEXTS = [text for text in TEXTS if "\x00" not in text]


# The numbers of the kinds of tokens.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = (
    gguf.TokenType.NORMAL,
    gguf.TokenType.UNKNOWN,
    gguf.TokenType.CONTROL,
    gguf.TokenType.USER_DEFINED,
    gguf.TokenType.BYTE,
)


def of_json(tokenizer):
    """The tokens of a `tokenizer.json` with their kinds."""
    tokens = tokenizer["model"]["vocab"] | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    special = {t["content"]: t["special"] for t in tokenizer["added_tokens"]}

    def kind(token):
        if token == "<unk>":
            return UNKNOWN
        if token in special:
            return CONTROL if special[token] else USER_DEFINED
        return BYTE if token.startswith("<0x") else NORMAL

    return {token: kind(token) for token in sorted(tokens, key=tokens.get)}


# The tokens that have a role, by the field that names them.
ROLES = {"bos": ["<|begin|>", "<s>", "[CLS]"], "eos": ["<|end|>", "</s>"], "unknown": ["<unk>", "[UNK]"], "seperator": ["[SEP]"]}


def write(file, model, pre, kinds, merges=None, scores=None, replacements=None, **flags):
    writer = gguf.GGUFWriter(file, "llama")
    tokens = list(kinds)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model(model)
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(list(kinds.values()))
    if merges is not None:
        writer.add_token_merges([" ".join(pair) for pair in merges])
    if scores is not None:
        writer.add_token_scores([scores.get(token, 0.0) for token in tokens])
    if replacements is not None:
        writer.add_precompiled_charsmap(replacements)
    for role, names in ROLES.items():
        for token in tokens:
            if token in names:
                writer.add_uint32(f"tokenizer.ggml.{role}_token_id", tokens.index(token))
    for name, value in flags.items():
        writer.add_bool(f"tokenizer.ggml.{name.replace('__', '.')}", value)
    writer.add_chat_template("{% for m in messages %}<|user|>{{ m.content }}{{ eos_token }}{% endfor %}")
    random = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), 32), "output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
    for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
        shapes[f"blk.0.{name}"] = (32, 32)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.1, shape).astype(np.float16 if len(shape) > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def asked(server, text, whole):
    body = json.dumps({"content": text, "add_special": whole, "parse_special": True}).encode()
    request = urllib.request.Request(f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["tokens"]


def by_llama_cpp(file):
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx = 64
    params.n_parallel = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    return [{"text": text, "bare": asked(server, text, False), "whole": asked(server, text, True)} for text in TEXTS]


def save(file, cases):
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    Path(file).write_text(f"[\n{lines}\n]\n")


def read(name):
    return json.loads((HERE.parent / name / "tokenizer.json").read_text())


def tiny():
    byte_level = read("byte-level")
    for pre in ["gpt-2", "smollm", "qwen2", "llama-bpe", "dbrx"]:
        write(HERE / f"{pre}.gguf", "gpt2", pre, of_json(byte_level), byte_level["model"]["merges"])
    pieces = read("pieces")
    kinds, merges = of_json(pieces), pieces["model"]["merges"]
    # SentencePiece keeps the order of merges as scores.
    scores = {left + right: -float(rank) for rank, (left, right) in enumerate(merges)}
    least = -float(len(scores))
    scores |= {token: least for token in pieces["model"]["vocab"] if len(token) == 1}
    write(HERE / "pieces.gguf", "llama", "default", kinds, scores=scores)
    write(HERE / "pieces-no-space.gguf", "llama", "default", kinds, scores=scores, add_space_prefix=False, add_eos_token=True)
    lines = ["\n", "\n\n", "\n\n\n"]
    write(
        HERE / "pieces-merged.gguf", "gemma4", None, kinds | {line: NORMAL for line in lines},
        [("\n", "\n"), ("\n\n", "\n")] + merges,
    )
    unigram()
    word_piece()
    for file in sorted(HERE.glob("*.gguf")):
        save(file.with_suffix(".json"), by_llama_cpp(file))


# Replacements of characters, as SentencePiece reads them: the code points, and those that replace them.
RULES = (
    "FF21>41;FF11>31;FF12>32;FF13>33;3000>20;A0>20;9>20;A>20;D>20;200B>20;7F>;BD>31 2044 32;FB01>66 69;65 301>E9;2014>2D;"
    "201C>22;201D>22"
)


def unigram():
    """Trains a unigram model with SentencePiece, whose special tokens are those of T5."""
    rules = HERE / "rules.tmp"
    rules.write_text("".join(rule.replace(">", "\t") + "\n" for rule in RULES.split(";")))
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        input=CORPUS, model_writer=trained, model_type="unigram", vocab_size=400, normalization_rule_tsv=str(rules),
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, control_symbols=["<|user|>", "<|end|>"],
        user_defined_symbols=["<tool>"], num_threads=1, minloglevel=2,
    )
    rules.unlink()
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(trained.getvalue())
    of = {1: NORMAL, 2: UNKNOWN, 3: CONTROL, 4: USER_DEFINED, 6: BYTE}
    kinds = {piece.piece: of[piece.type] for piece in model.pieces}
    scores = {piece.piece: piece.score for piece in model.pieces}
    replacements = model.normalizer_spec.precompiled_charsmap
    common = dict(kinds=kinds, scores=scores, replacements=replacements)
    write(HERE / "unigram.gguf", "t5", "default", add_space_prefix=True, remove_extra_whitespaces=True, **common)
    write(HERE / "unigram-spaces.gguf", "t5", "default", add_space_prefix=True, remove_extra_whitespaces=False, add_eos_token=False, **common)


def word_piece():
    """Trains WordPiece, in lower case. Files spell pieces that begin a word with `▁`, and others without `##`."""
    tokenizer = tokenizers.BertWordPieceTokenizer()
    tokenizer.train(CORPUS, vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False)
    vocab = tokenizer.get_vocab()

    def spelled(token):
        if token.startswith("##"):
            return token[2:]
        return token if token.startswith("[") and token.endswith("]") else f"▁{token}"

    kinds = {spelled(token): CONTROL if token[0] == "[" and token[-1] == "]" else NORMAL for token in sorted(vocab, key=vocab.get)}
    write(HERE / "word-piece.gguf", "bert", "default", kinds)
    write(HERE / "word-piece-cased.gguf", "bert", "default", kinds, normalizer__lowercase=False)


# One name of each rule for words, besides those of the files.
WORDS = [
    None, "default", "llama-bpe", "qwen2", "gpt-2", "smollm", "command-r", "glm4", "megrez", "qwen35", "tekken", "gpt-4o", "minimax-m2",
    "deepseek-coder", "deepseek-v3", "falcon", "bailingmoe", "seed-coder", "bloom", "poro-chat", "viking", "mellum2", "solar-open",
    "joyai-llm", "youtu", "tiny_aya", "exaone-moe", "minicpm5", "deepseek-llm", "spark2_5", "jais-2", "ufakzeka", "laguna",
    "chameleon", "kimi-k2", "superbpe", "afmoe", "granite-embed-multi-97m", "roberta-bpe",
]

# The last merges are left out, so that the ids show whether a rule takes words whole that no merges make.
LEFT_OUT = 100


def words():
    """Asks llama.cpp for the ids of the texts under each rule. The merges are those of the neighbouring files."""
    byte_level = read("byte-level")
    cases, unknown = {}, []
    for pre in WORDS:
        file = HERE / "words.tmp"
        write(file, "gpt2", pre, of_json(byte_level), byte_level["model"]["merges"][:-LEFT_OUT])
        try:
            cases[pre or ""] = by_llama_cpp(file)
        except Exception:
            unknown.append(pre)
        file.unlink()
    print("not known to this llama.cpp:", unknown)
    lines = ",\n".join(f"{json.dumps(pre)}: {json.dumps(texts, ensure_ascii=False)}" for pre, texts in cases.items())
    (HERE / "words.json").write_text("{\n" + lines + "\n}\n")


def real(file):
    from transformers import AutoTokenizer

    folder, name = str(Path(file).parent), Path(file).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    cases = by_llama_cpp(file)
    for case in cases:
        case["transformers"] = tokenizer(case["text"], add_special_tokens=False)["input_ids"]
    save(f"{file}.tokens.json", cases)


if __name__ == "__main__":
    tiny()
    words()
    for file in sys.argv[1:]:
        real(file)
