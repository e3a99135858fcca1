"""Makes PEFT LoRA adapters of some of the tiny checkpoints, with the logits that PEFT gives.

usage: python make_lora.py [NAME...]     (needs torch, transformers and peft, and the checkpoints of make.py)
"""

import json
import pathlib
import sys

import torch
import transformers as tf
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
ADAPTERS = {
    # name: (base, configuration)
    "qwen2-lora": ("qwen2", dict(r=4, lora_alpha=12, target_modules=["q_proj", "v_proj", "down_proj"])),
    "qwen2-rslora": ("qwen2", dict(r=3, lora_alpha=5, use_rslora=True, target_modules="all-linear")),
    "gpt2-lora": ("gpt2", dict(r=4, lora_alpha=8, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True)),
    "falcon-new-lora": ("falcon-new", dict(r=4, lora_alpha=8, target_modules=["query_key_value", "dense"])),
    # PEFT uses the first pattern that matches, in the order of the file, which is not alphabetical here.
    "qwen2-patterns-lora": ("qwen2", dict(
        r=4, lora_alpha=6,
        target_modules=r"(?!.*layers\.1\.).*\.(q_proj|v_proj|down_proj)", exclude_modules=r".*\.2\.mlp\..*",
        rank_pattern={"v_proj": 2, r"self_attn\..*": 3, r"layers\.0\.mlp.down_proj": 5},
        alpha_pattern={"v_proj": 7, "self_attn.v_proj": 20, "proj": 50, r"layers\.[02]\.self_attn\.q_proj": 9})),
    "qwen2-layers-rslora": ("qwen2", dict(
        r=4, lora_alpha=5, use_rslora=True,
        target_modules=["o_proj", "gate_proj"], exclude_modules=["layers.2.mlp.gate_proj"],
        layers_to_transform=[0, 2], layers_pattern="layers",
        rank_pattern={r"^model.layers.0.*": 2})),
    "qwen2-dora": ("qwen2", dict(r=3, lora_alpha=5, use_dora=True, target_modules=["q_proj", "o_proj", "up_proj"])),
    "gpt2-dora": ("gpt2", dict(r=2, lora_alpha=4, use_dora=True, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)),
    "falcon-new-biased-lora": ("falcon-new", dict(r=2, lora_alpha=6, lora_bias=True, target_modules=["query_key_value"])),
    "qwen2-outer-lora": ("qwen2", dict(r=3, lora_alpha=6, target_modules=["embed_tokens", "lm_head", "v_proj"])),
    "qwen2-saved-lora": ("qwen2", dict(r=2, lora_alpha=6, target_modules=["v_proj"],
                                       modules_to_save=["embed_tokens", "lm_head", "norm", "k_proj"])),
    "qwen2-tokens-lora": ("qwen2", dict(r=2, lora_alpha=6, target_modules=["v_proj"], trainable_token_indices=[90, 5, 9])),
    "llama-tokens-lora": ("llama", dict(r=2, lora_alpha=6, target_modules=["v_proj"],
                                        trainable_token_indices={"embed_tokens": [60, 12], "lm_head": [3, 41, 95]})),
    "llama-lora": ("llama", dict(r=6, lora_alpha=6, target_modules=["q_proj", "k_proj", "down_proj", "embed_tokens", "lm_head"])),
    "gpt2-saved-lora": ("gpt2", dict(r=2, lora_alpha=6, target_modules=["c_attn"], modules_to_save=["ln_1", "mlp.c_proj"],
                                     fan_in_fan_out=True)),
}
PATTERNS = ["rank_pattern", "alpha_pattern"]
SUMS = {
    # name: (base, adapters with their weights, whether PEFT adds them up before, or runs a list of active adapters)
    "qwen2-sum": ("qwen2", [("qwen2-lora", 0.7), ("qwen2-rslora", -0.4)], True),
    "qwen2-outer-sum": ("qwen2", [("qwen2-outer-lora", 0.5), ("qwen2-lora", 1.5), ("qwen2-layers-rslora", 1.0)], False),
    "falcon-new-sum": ("falcon-new", [("falcon-new-lora", 0.6), ("falcon-new-biased-lora", 0.8)], False),
}


def load(base):
    return tf.AutoModelForCausalLM.from_pretrained(HERE / base, dtype=torch.float32, attn_implementation="eager")


def save_logits(model, base, out):
    prompts = json.loads((HERE / base / "golden.json").read_text())["prompts"]
    with torch.no_grad():
        logits = {f"logits.{i}": model(torch.tensor([p]), use_cache=False).logits[0].contiguous()
                  for i, p in enumerate(prompts)}
    save_file(logits, out / "golden.safetensors")
    print(out.name, sorted(f.name for f in out.iterdir()))


def make_sum(name):
    base, adapters, before = SUMS[name]
    (first, _), *others = adapters
    model = PeftModel.from_pretrained(load(base), HERE / first, adapter_name=first)
    for adapter, _ in others:
        model.load_adapter(HERE / adapter, adapter_name=adapter)
    names, weights = map(list, zip(*adapters))
    if before:
        model.add_weighted_adapter(names, weights, adapter_name="sum", combination_type="cat")
        model.set_adapter("sum")
    else:
        model.base_model.set_adapter(names)
        for module in model.modules():
            for adapter, weight in adapters:
                if isinstance(module, LoraLayer) and adapter in module.scaling:
                    module.set_scale(adapter, weight)
    out = HERE / name
    out.mkdir(exist_ok=True)
    save_logits(model.eval(), base, out)


def make_adapter(name):
    base, settings = ADAPTERS[name]
    torch.manual_seed(sum(map(ord, name)))
    model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "magnitude" in parameter_name:
                parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
            elif "lora_" in parameter_name:  # PEFT initialises the second matrix to zero
                parameter.normal_(0, 0.4)
            elif "modules_to_save" in parameter_name or "trainable_tokens_delta" in parameter_name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    out = HERE / name
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    config = json.loads((out / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base  # instead of this machine's path
    config = dict(sorted(config.items()))  # PEFT has also sorted the patterns; their order is restored below
    config.update({field: settings[field] for field in PATTERNS if field in settings})
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    # The reference is what PEFT computes after reading the files.
    save_logits(PeftModel.from_pretrained(load(base), out).eval(), base, out)


for name in sys.argv[1:] or [*ADAPTERS, *SUMS]:
    make_sum(name) if name in SUMS else make_adapter(name)
