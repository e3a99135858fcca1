"""Makes a tiny random checkpoint of every decoder family, with the logits and greedy texts that transformers gives.

usage: python make.py [FAMILY...]     (needs torch and transformers; writes beside this file)

Weights are random but not small, so that every part of the architecture moves the logits: norms are not ones,
biases are not zeros, windows are shorter than the prompts.
"""

import json
import pathlib
import sys

import torch
import transformers as tf
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
VOCAB = 96
SIZES = dict(vocab_size=VOCAB, hidden_size=32, num_attention_heads=4, num_hidden_layers=3, max_position_embeddings=128,
             bos_token_id=1, eos_token_id=2, pad_token_id=0)
GATED = dict(SIZES, intermediate_size=48, num_key_value_heads=2)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16, rope_theta=10000.0)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=10000.0)
LONGROPE = dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.5, 2.5], long_factor=[1.5, 2.0, 4.0, 8.0], rope_theta=10000.0)

FAMILIES = {
    "llama": lambda: tf.LlamaConfig(**GATED, tie_word_embeddings=False),
    "llama3": lambda: tf.LlamaConfig(**GATED, rope_parameters=LLAMA3, tie_word_embeddings=True),
    "llama-linear": lambda: tf.LlamaConfig(**GATED, rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0),
                                           attention_bias=True, mlp_bias=True),
    "llama-yarn": lambda: tf.LlamaConfig(**GATED, rope_parameters=YARN),
    "mistral": lambda: tf.MistralConfig(**GATED, sliding_window=6, head_dim=12),
    "qwen2": lambda: tf.Qwen2Config(**GATED, tie_word_embeddings=True),
    "qwen3": lambda: tf.Qwen3Config(**GATED, head_dim=16, tie_word_embeddings=True),
    "gemma2": lambda: tf.Gemma2Config(**GATED, head_dim=16, sliding_window=6, query_pre_attn_scalar=24,
                                      attn_logit_softcapping=2.0, final_logit_softcapping=3.0),
    "gemma3": lambda: tf.Gemma3TextConfig(**GATED, head_dim=16, sliding_window=6, query_pre_attn_scalar=24,
                                          layer_types=["sliding_attention", "sliding_attention", "full_attention"]),
    "gpt2": lambda: tf.GPT2Config(vocab_size=VOCAB, n_embd=32, n_head=4, n_layer=3, n_positions=128,
                                  bos_token_id=1, eos_token_id=2),
    "falcon": lambda: tf.FalconConfig(**SIZES, multi_query=True, parallel_attn=True, bias=False, alibi=False,
                                      new_decoder_architecture=False),
    "falcon-new": lambda: tf.FalconConfig(**SIZES, num_kv_heads=2, parallel_attn=True, bias=True, alibi=False,
                                          new_decoder_architecture=True),
    "phi3": lambda: tf.Phi3Config(**GATED, sliding_window=6),
    "phi3-long": lambda: tf.Phi3Config(**GATED, rope_parameters=LONGROPE, original_max_position_embeddings=64),
}
SMALL = dict(GATED, num_hidden_layers=1)
FAMILIES |= {
    "llama-untied": lambda: tf.LlamaConfig(**SMALL, tie_word_embeddings=False),
    "llama-partial": lambda: tf.LlamaConfig(**SMALL),
    "llama-dynamic": lambda: tf.LlamaConfig(**SMALL, rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=10000.0)),
}
TWO = dict(GATED, num_hidden_layers=2)
FAMILIES |= {
    "ministral": lambda: tf.MinistralConfig(**TWO, head_dim=12, sliding_window=6,
                                            layer_types=["sliding_attention", "full_attention"]),
    "mixtral": lambda: tf.MixtralConfig(**TWO, num_local_experts=4, num_experts_per_tok=2),
    "qwen3-moe": lambda: tf.Qwen3MoeConfig(**GATED, head_dim=8, moe_intermediate_size=24, num_experts=6, num_experts_per_tok=3,
                                           norm_topk_prob=False, mlp_only_layers=[1]),
    "smollm3": lambda: tf.SmolLM3Config(**GATED, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=6),
    "granite": lambda: tf.GraniteConfig(**TWO, embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.6,
                                        logits_scaling=2.0, attention_bias=True, tie_word_embeddings=True),
    "olmo2": lambda: tf.Olmo2Config(**TWO),
    "olmo3": lambda: tf.Olmo3Config(**TWO, sliding_window=6, layer_types=["sliding_attention", "full_attention"],
                                    rope_parameters={"sliding_attention": dict(rope_type="default", rope_theta=10000.0),
                                                     "full_attention": YARN}),
    "phi4": lambda: tf.Phi3Config(**TWO, partial_rotary_factor=0.75, tie_word_embeddings=True),
    "cohere": lambda: tf.CohereConfig(**TWO, logit_scale=0.5),
    "cohere2": lambda: tf.Cohere2Config(**TWO, logit_scale=0.5, sliding_window=6,
                                        layer_types=["sliding_attention", "full_attention"]),
    "starcoder2": lambda: tf.Starcoder2Config(**TWO, sliding_window=6),
    "gpt-neox": lambda: tf.GPTNeoXConfig(**dict(SIZES, num_hidden_layers=2), intermediate_size=48),
    "gpt-neox-serial": lambda: tf.GPTNeoXConfig(**SIZES | dict(num_hidden_layers=1), intermediate_size=48,
                                                use_parallel_residual=False, attention_bias=False),
    "opt": lambda: tf.OPTConfig(**dict(SIZES, num_hidden_layers=2), ffn_dim=48),
}
FAMILIES |= {
    "llama4": lambda: tf.Llama4TextConfig(**GATED, head_dim=8, intermediate_size_mlp=40, num_local_experts=4, num_experts_per_tok=2,
                                          moe_layers=[0, 2], no_rope_layers=[1, 0, 1], attention_chunk_size=5, floor_scale=4,
                                          attn_scale=0.5),
    # The angles depend on whether the bounds of YaRN's ramp are rounded, and the activations reach their limit.
    "gpt-oss": lambda: tf.GptOssConfig(**TWO | dict(intermediate_size=32), head_dim=16, num_local_experts=4, num_experts_per_tok=2,
                                       sliding_window=6, layer_types=["sliding_attention", "full_attention"], swiglu_limit=1.0,
                                       rope_parameters=YARN | dict(rope_theta=20.0, beta_fast=2.0, truncate=False)),
}
# Families whose routers read little but two channels of the hidden state that depend on the token alone. So the choice of
# experts is clear, and rounding does not change it.
STEERED = ["llama4", "gpt-oss"]
# Texts that outgrow the original context, after which the angles of all their positions are others.
PAST = {
    "phi3-past": lambda: tf.Phi3Config(**TWO, partial_rotary_factor=0.75, original_max_position_embeddings=8,
                                       rope_parameters=dict(LONGROPE, short_factor=[1.0, 1.1, 1.5], long_factor=[1.5, 2.0, 4.0])),
    "llama-dynamic-past": lambda: tf.LlamaConfig(**dict(TWO, max_position_embeddings=8),
                                                 rope_parameters=dict(rope_type="dynamic", factor=16.0, rope_theta=10000.0)),
}
FAMILIES |= PAST
# Fields that are changed after a model is saved; the results are those of the changed files.
EDITS = {
    # Fine-tuned models have been saved with a head of their own, though the configuration ties it to the embedding.
    "llama-untied": {"tie_word_embeddings": True},
    # Other families rotate only a part of each head. In this one, transformers does not read the field.
    "llama-partial": {"partial_rotary_factor": 0.5},
}
PROMPTS = [[1, 5, 9, 60, 33, 7, 12, 90, 4, 41, 18, 77, 3], [1, 88], [42, 42, 17, 63, 5, 29, 11]]


def steer(model):
    """Gives each token one of four directions in two channels, which no layer changes. Each lies between those of two experts."""
    marks = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    experts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    for name, parameter in model.named_parameters():
        if name.endswith("embed_tokens.weight"):
            parameter[:, :2] = 2.0 * marks[torch.randint(4, (VOCAB,))]
        if name.endswith("post_attention_layernorm.weight"):
            parameter[:2] = 1.0
        if name.endswith("router.weight"):
            parameter *= 0.1
            parameter[:, :2] = 3.0 * experts
        if name.endswith(("o_proj.weight", "o_proj.bias", "down_proj.weight")):
            parameter[:2] = 0.0
        if name.endswith(("experts.down_proj", "experts.down_proj_bias")):
            parameter[..., :2] = 0.0


def watch_routers(model, per_token):
    """A list that grows with each pass, by the smallest distance between the logits of a chosen and of another expert."""
    margins = []

    def watch(router, inputs, _):
        logits = torch.nn.functional.linear(inputs[0], router.weight, getattr(router, "bias", None))
        largest = logits.reshape(-1, logits.shape[-1]).topk(per_token + 1).values
        margins.append((largest[:, -2] - largest[:, -1]).min().item())

    for name, module in model.named_modules():
        if name.endswith("router"):
            module.register_forward_hook(watch)
    return margins


def main(names):
    for name in names or FAMILIES:
        torch.manual_seed(sum(map(ord, name)))
        config = FAMILIES[name]()
        config._attn_implementation = "eager"
        model = tf.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # Matrices are scaled to outputs of about unit size; noise is added to vectors (norms, biases).
                if parameter.dim() > 1:
                    parameter.normal_(0, 1.5 / parameter.shape[-1] ** 0.5)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
            if name in STEERED:
                steer(model)
        margins = watch_routers(model, config.num_experts_per_tok) if name in STEERED else []
        model.tie_weights()
        out = HERE / name
        out.mkdir(exist_ok=True)
        for old in out.iterdir():
            old.unlink()
        model.save_pretrained(out)
        (out / "generation_config.json").unlink(missing_ok=True)
        if name in EDITS:
            file = out / "config.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | EDITS[name], indent=2) + "\n")
            model = tf.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()
        goldens, texts = {}, []
        with torch.no_grad():
            for i, prompt in enumerate(PROMPTS):
                ids = torch.tensor([prompt])
                # The logits after a token are those of a text that ends with it.
                texts_to_score = [ids[:, :end] for end in range(1, len(prompt) + 1)] if name in PAST else [ids]
                logits = [model(text, use_cache=False).logits[0].float() for text in texts_to_score]
                goldens[f"logits.{i}"] = torch.stack([x[-1] for x in logits]) if name in PAST else logits[0].contiguous()
                text = list(prompt)
                for _ in range(32):  # without a cache, by the definition
                    text.append(int(model(torch.tensor([text]), use_cache=False).logits[0, -1].argmax()))
                texts.append(text[len(prompt):])
        save_file(goldens, out / "golden.safetensors")
        (out / "golden.json").write_text(json.dumps({"prompts": PROMPTS, "greedy": texts}) + "\n")
        size = sum(f.stat().st_size for f in out.iterdir())
        spread = goldens["logits.0"].std().item()
        print(f"{name:14} {size / 1024:6.0f} KiB, logits' deviation {spread:.2f}, {config.architectures or model.config.architectures}")
        if margins:
            print(f"{name:14} smallest distance of a chosen expert's logit from the next one {min(margins):.2f}")
            assert min(margins) > 1.0, name


main(sys.argv[1:])
