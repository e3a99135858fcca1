"""Makes PEFT LoRA adapters of some of the tiny checkpoints, with the logits that peft gives.

usage: python make_lora.py     (needs torch, transformers and peft, and the checkpoints of make.py)
"""

import json
import pathlib

import torch
import transformers as tf
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
ADAPTERS = {
    # name: (base, configuration)
    "qwen2-lora": ("qwen2", dict(r=4, lora_alpha=12, target_modules=["q_proj", "v_proj", "down_proj"])),
    "qwen2-rslora": ("qwen2", dict(r=3, lora_alpha=5, use_rslora=True, target_modules="all-linear")),
    "gpt2-lora": ("gpt2", dict(r=4, lora_alpha=8, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True)),
    "falcon-new-lora": ("falcon-new", dict(r=4, lora_alpha=8, target_modules=["query_key_value", "dense"])),
}

for name, (base, settings) in ADAPTERS.items():
    torch.manual_seed(sum(map(ord, name)))
    model = tf.AutoModelForCausalLM.from_pretrained(HERE / base, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:  # the second matrix is zero at first
                parameter.normal_(0, 0.4)
    out = HERE / name
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    config = json.loads((out / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base  # not where it lay when this ran
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    prompts = json.loads((HERE / base / "golden.json").read_text())["prompts"]
    with torch.no_grad():
        logits = {f"logits.{i}": model(torch.tensor([p]), use_cache=False).logits[0].contiguous()
                  for i, p in enumerate(prompts)}
    save_file(logits, out / "golden.safetensors")
    print(name, sorted(f.name for f in out.iterdir()))
