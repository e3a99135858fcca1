"""Makes a tiny random GGUF file of every family that llama.cpp converts, with the logits that transformers gives.

usage: python make.py [NAME...]     (needs torch, transformers 5 and gguf 0.19; writes beside this file)

Names of tensors and fields are those of the package `gguf`, and the layouts of tensors are those of llama.cpp's
converter. Matrices are in f16 (in one file, those of experts in MXFP4), and transformers runs the rounded weights. If xllamacpp is installed, llama.cpp has to
load the file and to give nearly the same logits; it keeps keys and values in f16. Where it computes something else than
transformers, `OTHER` says why.
"""

import json
import math
import pathlib
import sys
import tempfile

import gguf
import numpy as np
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
ARCH = gguf.MODEL_ARCH
SIZES = dict(vocab_size=64, hidden_size=32, num_attention_heads=4, num_hidden_layers=2, max_position_embeddings=128,
             bos_token_id=1, eos_token_id=2, pad_token_id=0)
GATED = dict(SIZES, intermediate_size=48, num_key_value_heads=2)
FOUR = dict(GATED, num_hidden_layers=4, intermediate_size=32)
PLAIN = dict(rope_type="default", rope_theta=10000.0)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=10000.0)
LONGROPE = dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.5, 2.5], long_factor=[1.5, 2.0, 4.0, 8.0],
                original_max_position_embeddings=64, rope_theta=10000.0)

# name: (architecture, configuration)
FAMILIES = {
    "mixtral": (ARCH.LLAMA, lambda: tf.MixtralConfig(**GATED | dict(intermediate_size=32), num_local_experts=4, num_experts_per_tok=2)),
    "mistral3": (ARCH.MISTRAL3, lambda: tf.Ministral3Config(**GATED, head_dim=8, rope_parameters=dict(
        type="yarn", rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32, mscale=1.0,
        mscale_all_dim=1.0, beta_fast=32.0, beta_slow=1.0, llama_4_scaling_beta=0.1, max_position_embeddings=128))),
    "smollm3": (ARCH.SMOLLM3, lambda: tf.SmolLM3Config(**FOUR)),
    "granite": (ARCH.GRANITE, lambda: tf.GraniteConfig(
        **GATED, embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.6, logits_scaling=2.0,
        attention_bias=True, tie_word_embeddings=True)),
    "qwen3-moe": (ARCH.QWEN3MOE, lambda: tf.Qwen3MoeConfig(
        **GATED, head_dim=8, moe_intermediate_size=16, num_experts=6, num_experts_per_tok=3, norm_topk_prob=True)),
    # llama.cpp rounds the bounds of YaRN's ramp, also where the published configuration says not to.
    "gpt-oss": (ARCH.GPT_OSS, lambda: tf.GptOssConfig(
        **GATED | dict(intermediate_size=32), head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=6,
        rope_parameters=YARN | dict(rope_theta=20.0, beta_fast=2.0, truncate=True))),
    "gpt-oss-mxfp4": (ARCH.GPT_OSS, lambda: tf.GptOssConfig(
        **GATED | dict(intermediate_size=64, num_hidden_layers=1), head_dim=16, num_local_experts=4, num_experts_per_tok=2,
        sliding_window=6, rope_parameters=PLAIN)),
    "phi4": (ARCH.PHI3, lambda: tf.Phi3Config(**GATED, partial_rotary_factor=0.75, tie_word_embeddings=True)),
    "phi3-long": (ARCH.PHI3, lambda: tf.Phi3Config(**GATED, rope_parameters=LONGROPE, original_max_position_embeddings=64)),
    "olmo2": (ARCH.OLMO2, lambda: tf.Olmo2Config(**GATED)),
    "olmo3": (ARCH.OLMO2, lambda: tf.Olmo3Config(
        **GATED, sliding_window=6, layer_types=["sliding_attention", "full_attention"],
        rope_parameters={"sliding_attention": PLAIN, "full_attention": YARN})),
    "cohere": (ARCH.COMMAND_R, lambda: tf.CohereConfig(**GATED, logit_scale=0.5)),
    "cohere2": (ARCH.COHERE2, lambda: tf.Cohere2Config(**FOUR, logit_scale=0.5, sliding_window=6)),
    "starcoder2": (ARCH.STARCODER2, lambda: tf.Starcoder2Config(**GATED)),
    "gpt-neox": (ARCH.GPTNEOX, lambda: tf.GPTNeoXConfig(**SIZES, intermediate_size=48)),
    "gpt-neox-serial": (ARCH.GPTNEOX, lambda: tf.GPTNeoXConfig(
        **SIZES | dict(num_hidden_layers=1), intermediate_size=48, use_parallel_residual=False, rotary_pct=1.0)),
    "falcon": (ARCH.FALCON, lambda: tf.FalconConfig(
        **SIZES | dict(num_hidden_layers=1), multi_query=True, parallel_attn=True, bias=False, alibi=False,
        new_decoder_architecture=False)),
    "falcon-new": (ARCH.FALCON, lambda: tf.FalconConfig(
        **SIZES | dict(num_hidden_layers=1), num_kv_heads=2, parallel_attn=True, bias=False, alibi=False,
        new_decoder_architecture=True)),
    "falcon-one-norm": (ARCH.FALCON, lambda: tf.FalconConfig(
        **SIZES | dict(num_hidden_layers=1), num_kv_heads=2, parallel_attn=True, bias=False, alibi=False,
        new_decoder_architecture=True, num_ln_in_parallel_attn=1)),
}
OTHER = {"phi3-long": "llama.cpp takes the long factors as soon as the context that it reserves is long"}
# Prompts past the original context.
PAST = {"mistral3": [3 + i * i % 61 for i in range(100)]}
PROMPTS = [[1, 5, 9, 60, 33, 7, 12, 50, 4, 41, 18, 37, 3], [42, 42, 17, 63, 5, 29, 11]]
MXFP4 = gguf.GGMLQuantizationType.MXFP4
BLOCKS = ["gpt-oss-mxfp4"]
PERMUTED = (ARCH.LLAMA, ARCH.MISTRAL3, ARCH.SMOLLM3, ARCH.GRANITE)


def permuted(weight, heads):
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def grouped(weight, config, arch):
    """Queries, then keys, then values, from groups of some query heads, a key head and a value head."""
    heads = config.num_attention_heads
    groups = heads if arch == ARCH.GPTNEOX else (config.num_kv_heads if config.new_decoder_architecture else 1)
    parts = weight.reshape(groups, heads // groups + 2, config.hidden_size // heads, -1)
    parts = parts[:, :-2], parts[:, -2:-1], parts[:, -1:]
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts]).reshape(weight.shape)


def split(tensors):
    """The experts of gpt-oss, each a row for each output, with the two layers that read their input apart."""
    for name, tensor in tensors.items():
        if ".experts." not in name:
            yield name, tensor
            continue
        name, kind = (name.removesuffix("_bias"), "bias") if name.endswith("_bias") else (name, "weight")
        tensor = tensor if kind == "bias" else tensor.transpose(1, 2)
        if name.endswith("gate_up_proj"):
            for part, at in [("gate", 0), ("up", 1)]:
                yield f"{name.removesuffix('gate_up_proj')}{part}_proj.{kind}", tensor[:, at::2]
        else:
            yield f"{name}.{kind}", tensor


def converted(tensors, config, arch):
    """The tensors under their names in the file, with their rows in its order."""
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    if arch == ARCH.GPT_OSS:
        for name, tensor in split(tensors):
            stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
            assert stored, name
            yield stored if stored.endswith((".weight", ".bias")) else f"{stored}.weight", tensor
        return
    experts = {}
    for name, tensor in tensors.items():
        if ".experts." in name:
            before, after = name.split(".experts.")
            index, part = after.split(".", 1)
            if "w" == part[0]:
                before = before.replace("model.", "").replace("block_sparse_moe", "feed_forward")
            experts.setdefault(f"{before}.experts.{part}", {})[int(index)] = tensor
    stacked = {name: torch.stack([of[i] for i in range(len(of))]) for name, of in experts.items()}
    for name, tensor in (tensors | stacked).items():
        if name.split(".experts.")[0] != name and name not in stacked:
            continue
        if arch in PERMUTED and "q_proj" in name:
            tensor = permuted(tensor, config.num_attention_heads)
        if arch in PERMUTED and "k_proj" in name:
            tensor = permuted(tensor, config.num_key_value_heads)
        if "query_key_value" in name:
            tensor = grouped(tensor, config, arch)
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored, name
        yield stored, tensor


def fields(writer, config, arch):
    norms = "norm_epsilon", "layer_norm_eps", "layer_norm_epsilon"
    epsilon = next((getattr(config, name) for name in norms if hasattr(config, name)), None)
    writer.add_context_length(config.max_position_embeddings if arch != ARCH.FALCON else 2048)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_layer_norm_eps(epsilon) if epsilon else writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    if arch == ARCH.FALCON:
        writer.add_tensor_data_layout("jploski")
        writer.add_head_count_kv(config.num_kv_heads if config.new_decoder_architecture else 1)
        return
    if arch == ARCH.GPTNEOX:
        writer.add_rope_dimension_count(int(rope["partial_rotary_factor"] * width))
        writer.add_parallel_residual(config.use_parallel_residual)
        return
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(rope.get("partial_rotary_factor", 1.0) * width))
    if getattr(config, "head_dim", None):
        writer.add_key_length(width)
        writer.add_value_length(width)
    kind = rope["rope_type"]
    if kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if kind == "longrope":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        scale = config.max_position_embeddings / rope["original_max_position_embeddings"]
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(rope["original_max_position_embeddings"])))
    if arch == ARCH.MISTRAL3:
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
        writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])
    if arch == ARCH.PHI3:
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
        writer.add_sliding_window(config.sliding_window or 0)
    if arch == ARCH.GRANITE:
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    if arch in (ARCH.COMMAND_R, ARCH.COHERE2):
        writer.add_logit_scale(config.logit_scale)
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    if arch == ARCH.COHERE2:
        writer.add_sliding_window(config.sliding_window)
    if arch == ARCH.OLMO2 and config.model_type == "olmo3":
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config.layer_types])
    if experts := getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None):
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if arch == ARCH.QWEN3MOE:
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if arch == ARCH.GPT_OSS:
        writer.add_expert_feed_forward_length(config.intermediate_size)
        writer.add_rope_scaling_yarn_beta_fast(rope.get("beta_fast", 32.0))
        writer.add_sliding_window(config.sliding_window)


def by_llama_cpp(file, prompts):
    try:
        sys.path.insert(0, str(HERE.parents[4] / "benches"))
        from llama_cpp import Model
    except ImportError:
        return None
    model = Model(str(file), threads=1)
    return [model.logits(prompt, 0) for prompt in prompts]


def main(names):
    for name in names or FAMILIES:
        arch, make = FAMILIES[name]
        torch.manual_seed(sum(map(ord, name)))
        config = make()
        config._attn_implementation = "eager"
        model = tf.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        with torch.no_grad():
            for own, parameter in model.named_parameters():
                if name in BLOCKS and own.endswith(("experts.gate_up_proj", "experts.down_proj")):
                    numbers = torch.randn_like(parameter.transpose(1, 2)) * 1.5 / parameter.shape[1] ** 0.5
                    numbers = gguf.quants.dequantize(gguf.quants.quantize(numbers.numpy(), MXFP4), MXFP4)
                    parameter.copy_(torch.from_numpy(numbers).transpose(1, 2))
                elif parameter.dim() > 1:
                    parameter.copy_((torch.randn_like(parameter) * 1.5 / parameter.shape[-1] ** 0.5).half().float())
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        model.tie_weights()
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            tensors = load_file(pathlib.Path(folder) / "model.safetensors")
        if config.tie_word_embeddings:
            tensors.pop("lm_head.weight", None)
        out = HERE / f"{name}.gguf"
        writer = gguf.GGUFWriter(out, gguf.MODEL_ARCH_NAMES[arch])
        fields(writer, config, arch)
        writer.add_tokenizer_model("none")
        if "longrope" == config.rope_parameters.get("rope_type"):
            for kind in ["long", "short"]:
                factors = np.array(config.rope_parameters[f"{kind}_factor"], dtype=np.float32)
                writer.add_tensor(f"rope_factors_{kind}.weight", factors)
        for stored, tensor in converted(tensors, config, arch):
            if name in BLOCKS and stored.endswith("_exps.weight"):
                blocks = gguf.quants.quantize(np.ascontiguousarray(tensor.numpy()), MXFP4)
                writer.add_tensor(stored, blocks, raw_dtype=MXFP4)
                continue
            dtype = np.float16 if tensor.dim() > 1 and not stored.endswith(".bias") else np.float32
            writer.add_tensor(stored, np.ascontiguousarray(tensor.numpy().astype(dtype)))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with torch.no_grad():
            logits = [model(torch.tensor([prompt]), use_cache=False).logits[0].contiguous() for prompt in PROMPTS]
        save_file({f"logits.{i}": rows for i, rows in enumerate(logits)}, HERE / f"{name}.safetensors")
        if name in PAST:
            with torch.no_grad():
                past = model(torch.tensor([PAST[name]]), use_cache=False).logits[0].contiguous()
            save_file({"logits.0": past}, HERE / f"{name}-past.safetensors")
            others = by_llama_cpp(out, [PAST[name]])
            print(f"{name:16} past its context, llama.cpp differs by {others and np.abs(past.numpy() - others[0]).max()}")
        others = by_llama_cpp(out, PROMPTS)
        worst = others and max(np.abs(a.numpy() - b).max() for a, b in zip(logits, others))
        spread = logits[0].std().item()
        print(f"{name:16} {out.stat().st_size / 1024:5.0f} KiB, logits' deviation {spread:.2f}, llama.cpp differs by {worst}", flush=True)
        assert worst is None or name in OTHER or worst < 0.05 * spread, name
    (HERE / "prompts.json").write_text(json.dumps(PROMPTS) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
