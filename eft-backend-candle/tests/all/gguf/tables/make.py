"""Makes tiny random GGUF files whose matrices are of the types that are looked up in tables, with the logits that
transformers gives for the numbers that the package `gguf` dequantises them to.

usage: python make.py     (needs what ../families/make.py needs)
"""

import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers as tf
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "families"))
from make import PROMPTS, by_llama_cpp  # noqa: E402

# name: (width, the type of each matrix)
FILES = {
    "of-256": (256, dict(token_embd="TQ2_0", output="IQ4_XS", attn_q="IQ2_XXS", attn_k="IQ2_XS", attn_v="IQ2_S",
                         attn_output="IQ3_XXS", ffn_gate="IQ1_S", ffn_up="IQ1_M", ffn_down="TQ1_0")),
    "of-256-more": (256, dict(token_embd="IQ3_S", output="IQ2_S", attn_q="IQ3_S", attn_k="TQ1_0", attn_v="IQ1_M",
                              attn_output="IQ2_XS", ffn_gate="TQ2_0", ffn_up="IQ4_XS", ffn_down="IQ2_XXS")),
    "of-32": (64, dict(token_embd="IQ4_NL", output="MXFP4", attn_q="MXFP4", attn_k="IQ4_NL", attn_v="MXFP4",
                       attn_output="IQ4_NL", ffn_gate="MXFP4", ffn_up="IQ4_NL", ffn_down="MXFP4")),
}
NAMES = {"token_embd": "model.embed_tokens", "output": "lm_head", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def blocks(kind, rows, columns, rng):
    """Random blocks whose numbers have a deviation of about 1.5 over the root of the columns."""
    quant = gguf.GGMLQuantizationType[kind]
    entries, size = gguf.GGML_QUANT_SIZES[quant]
    data = rng.integers(0, 256, (rows * columns // entries, size), dtype=np.uint8)

    def scaled(number):
        bits = np.array([number], dtype=np.float16).view(np.uint16)[0]
        if kind == "MXFP4":
            data[:, 0] = 127 + round(np.log2(number))
        elif kind == "IQ1_M":
            for i in range(4):
                data[:, -7 + 2 * i] = data[:, -7 + 2 * i] & 15 | int(bits >> (4 * i) & 15) << 4
        else:
            at = size - 2 if kind.startswith("TQ") else 0
            data[:, at], data[:, at + 1] = bits & 255, bits >> 8
        return gguf.quants.dequantize(data, quant).reshape(rows, columns)

    numbers = scaled(1.5 / columns ** 0.5 / scaled(1.0).std())
    return data.reshape(rows, -1), torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.float32)), quant


for name, (width, kinds) in FILES.items():
    rng = np.random.default_rng(sum(map(ord, name)))
    torch.manual_seed(1)
    config = tf.LlamaConfig(vocab_size=64, hidden_size=width, num_attention_heads=4, num_key_value_heads=1, intermediate_size=width,
                            num_hidden_layers=1, max_position_embeddings=128, tie_word_embeddings=False, bos_token_id=1,
                            eos_token_id=2, attn_implementation="eager")
    model = tf.LlamaForCausalLM(config).eval()
    weights = dict(model.named_parameters())
    file = HERE / f"{name}.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(4)
    writer.add_head_count_kv(1)
    writer.add_vocab_size(64)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("none")
    with torch.no_grad():
        for stored, kind in kinds.items():
            outside = stored in ("token_embd", "output")
            weight = weights[("" if outside else "model.layers.0.") + NAMES[stored] + ".weight"]
            data, numbers, quant = blocks(kind, *weight.shape, rng)
            writer.add_tensor(("" if outside else "blk.0.") + stored + ".weight", data, raw_dtype=quant)
            if stored in ("attn_q", "attn_k"):  # neighbouring channels of a head rotate together
                heads = 4 if stored == "attn_q" else 1
                numbers = numbers.reshape(heads, -1, 2, width).swapaxes(1, 2).reshape(numbers.shape)
            weight.copy_(numbers)
        for stored, own in {"output_norm": "model.norm", "blk.0.attn_norm": "model.layers.0.input_layernorm",
                            "blk.0.ffn_norm": "model.layers.0.post_attention_layernorm"}.items():
            weights[f"{own}.weight"].add_(torch.randn(width) * 0.3)
            writer.add_tensor(f"{stored}.weight", weights[f"{own}.weight"].numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        logits = [model(torch.tensor([prompt]), use_cache=False).logits[0].contiguous() for prompt in PROMPTS]
    save_file({f"logits.{i}": rows for i, rows in enumerate(logits)}, HERE / f"{name}.safetensors")
    others = by_llama_cpp(file, PROMPTS)
    worst = others and max(np.abs(a.numpy() - b).max() for a, b in zip(logits, others))
    spread = logits[0].std().item()
    print(f"{name:12} {file.stat().st_size / 1024:4.0f} KiB, logits' deviation {spread:.2f}, llama.cpp differs by {worst}", flush=True)
