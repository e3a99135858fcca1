"""Makes the GGUF files in this folder, and the expected ids of their tokenizers by llama.cpp.

    python make.py [MODEL.gguf ...]

The files hold the tokenizers of the neighbouring folders, with several pre-tokenizers, and a minimal model. For each
MODEL.gguf that is given, the ids of the same texts by llama.cpp and transformers are written to MODEL.gguf.tokens.json.
Written with gguf 0.17, xllamacpp 2026.10, transformers 5.
"""

import json
import sys
import urllib.request
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from make import TEXTS  # noqa: E402

# A llama.cpp server does not take null characters.
TEXTS = [text for text in TEXTS if "\x00" not in text]


def write(file, model, pre, tokenizer, scores=None, **flags):
    writer = gguf.GGUFWriter(file, "llama")
    tokens = tokenizer["model"]["vocab"] | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    tokens = sorted(tokens, key=tokens.get)
    special = {t["content"]: t["special"] for t in tokenizer["added_tokens"]}
    kinds = []
    for token in tokens:
        if token in special:
            kinds.append(gguf.TokenType.CONTROL if special[token] else gguf.TokenType.USER_DEFINED)
        elif token.startswith("<0x"):
            kinds.append(gguf.TokenType.BYTE)
        else:
            kinds.append(gguf.TokenType.NORMAL)
    if "<unk>" in tokens:
        kinds[tokens.index("<unk>")] = gguf.TokenType.UNKNOWN
        writer.add_unk_token_id(tokens.index("<unk>"))
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
    writer.add_token_types(kinds)
    if scores is None:
        writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    else:
        writer.add_token_scores([scores.get(token, 0.0) for token in tokens])
    begin = next(token for token in tokens if token in ("<|begin|>", "<s>"))
    end = next(token for token in tokens if token in ("<|end|>", "</s>"))
    writer.add_bos_token_id(tokens.index(begin))
    writer.add_eos_token_id(tokens.index(end))
    for name, value in flags.items():
        writer.add_bool(f"tokenizer.ggml.{name}", value)
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


def tiny():
    read = lambda name: json.loads((HERE.parent / name / "tokenizer.json").read_text())
    for pre in ["gpt-2", "smollm", "qwen2", "llama-bpe", "dbrx"]:
        write(HERE / f"{pre}.gguf", "gpt2", pre, read("byte-level"))
    pieces = read("pieces")
    # SentencePiece keeps the order of merges as scores.
    scores = {left + right: -float(rank) for rank, (left, right) in enumerate(pieces["model"]["merges"])}
    least = -float(len(scores))
    scores |= {token: least for token in pieces["model"]["vocab"] if len(token) == 1}
    write(HERE / "pieces.gguf", "llama", "default", pieces, scores)
    write(HERE / "pieces-no-space.gguf", "llama", "default", pieces, scores, add_space_prefix=False, add_eos_token=True)
    for file in sorted(HERE.glob("*.gguf")):
        save(file.with_suffix(".json"), by_llama_cpp(file))


# One name of each rule for words, besides those of the files.
WORDS = [
    None, "default", "llama-bpe", "qwen2", "gpt-2", "smollm", "command-r", "glm4", "megrez", "qwen35", "tekken", "gpt-4o", "minimax-m2",
    "deepseek-coder", "deepseek-v3", "falcon", "bailingmoe", "seed-coder", "bloom", "poro-chat", "viking", "mellum2", "solar-open",
    "joyai-llm", "youtu", "tiny_aya", "exaone-moe", "minicpm5",
]


def words():
    """Asks llama.cpp for the ids of the texts under each rule. The merges are those of the neighbouring files."""
    byte_level = json.loads((HERE.parent / "byte-level" / "tokenizer.json").read_text())
    cases = {}
    for pre in WORDS:
        file = HERE / "words.tmp"
        write(file, "gpt2", pre, byte_level)
        cases[pre or ""] = by_llama_cpp(file)
        file.unlink()
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
