"""Makes copies of a tiny checkpoint in other formats, with the logits that transformers gives.

usage: python make_formats.py [NAME...]     (needs torch, transformers and accelerate, and the checkpoints of make.py)

Quantised weights are packed number by number, as the formats are documented; transformers sees the weights that they
stand for. One copy is a file of PyTorch. Files in MXFP4 are read by transformers itself.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
BASE = "qwen2"  # with biases and a tied head
GROUP = 16


def groups(weight, of_input, levels, rng):
    """Scales (groups × outputs, of few bits) and zero points, and the integers nearest to the weights (outputs × inputs)."""
    outputs, inputs = weight.shape
    count = of_input.max() + 1
    scales = np.stack([np.abs(weight[:, of_input == g]).max(1) / (levels / 2 - 1) for g in range(count)])
    scales = scales.astype(np.float16).astype(np.float32)
    zeros = rng.integers(levels // 2 - 2, levels // 2 + 2, scales.shape)
    steps = np.round(weight / scales[of_input].T) + zeros[of_input].T
    return scales, zeros, np.clip(steps, 0, levels - 1).astype(np.int64)


def words(numbers, bits):
    """Packs numbers (rows × columns) along the columns, the first into the lowest bits."""
    packed = 32 // bits
    out = np.zeros((numbers.shape[0], -(-numbers.shape[1] // packed)), dtype=np.uint32)
    for row in range(numbers.shape[0]):
        for column in range(numbers.shape[1]):
            out[row, column // packed] |= np.uint32(int(numbers[row, column]) << bits * (column % packed))
    return torch.from_numpy(out.view(np.int32))


def gptq(weight, rng, bits, stored_zero, act_order=False):
    of_input = np.arange(weight.shape[1]) // GROUP
    if act_order:
        of_input = rng.permutation(of_input)
    scales, zeros, steps = groups(weight, of_input, 2 ** bits, rng)
    dense = scales[of_input].T * (steps - zeros[of_input].T)
    parts = {"qweight": words(steps, bits).T, "qzeros": words(zeros - stored_zero, bits),
             "scales": torch.from_numpy(scales).half(), "g_idx": torch.from_numpy(of_input.astype(np.int32))}
    return parts, dense


def awq(weight, rng):
    of_input = np.arange(weight.shape[1]) // GROUP
    scales, zeros, steps = groups(weight, of_input, 16, rng)

    def packed(numbers):  # rows × outputs
        order = [0, 2, 4, 6, 1, 3, 5, 7]  # AutoAWQ packs output order[i] of eight at place i
        return words(np.concatenate([numbers[:, at:at + 8][:, order] for at in range(0, numbers.shape[1], 8)], axis=1), 4)

    dense = scales[of_input].T * (steps - zeros[of_input].T)
    return {"qweight": packed(steps.T), "qzeros": packed(zeros), "scales": torch.from_numpy(scales).half()}, dense


def scaled(weight, dtype, block, name, shape=None):
    """Numbers of eight bits with one scale for each block; `shape` is that of the stored scales."""
    weight = torch.from_numpy(weight)
    rows, columns = (min(b or n, n) for b, n in zip(block, weight.shape))
    largest = torch.finfo(dtype).max if dtype.is_floating_point else 127
    spread = torch.stack([torch.stack([part.abs().max() for part in line.split(columns, 1)]) for line in weight.split(rows)])
    scales = (spread / largest).bfloat16()
    wide = scales.float().repeat_interleave(rows, 0)[:weight.shape[0]].repeat_interleave(columns, 1)[:, :weight.shape[1]]
    numbers = weight / wide
    numbers = (numbers if dtype.is_floating_point else numbers.round().clamp(-127, 127)).to(dtype)
    return {"weight": numbers, name: scales.reshape(shape or scales.shape)}, (numbers.float() * wide).numpy()


def packed_integers(weight, rng):
    of_input = np.arange(weight.shape[1]) // GROUP
    scales = np.stack([np.abs(weight[:, of_input == g]).max(1) / 7 for g in range(of_input.max() + 1)], axis=1)
    scales = torch.from_numpy(scales).bfloat16()
    wide = scales.float().numpy()[:, of_input]
    steps = np.clip(np.round(weight / wide), -8, 7).astype(np.int64)
    shape = torch.tensor(weight.shape)
    return {"weight_packed": words(steps + 8, 4), "weight_scale": scales, "weight_shape": shape}, steps * wide


# The numbers that the codes of four bits stand for: bitsandbytes' tables.
FP4 = [0.0, 0.0052083333, 0.6666667, 1.0, 0.3333333, 0.5, 0.1666667, 0.25]
TABLES = {
    "nf4": [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
            -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
            0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0],
    "fp4": FP4 + [-number for number in FP4],
}


def four_bits(weight, kind, nested):
    """bitsandbytes: codes of four bits in blocks of 64, with scales that may be quantised in blocks of 8."""
    size, table = 64, np.array(TABLES[kind], dtype=np.float32)
    blocks = weight.reshape(-1, size)
    absmax = np.abs(blocks).max(1)
    state = dict(quant_type=kind, blocksize=size, dtype="float32", shape=list(weight.shape))
    parts = {"weight.quant_map": torch.from_numpy(table)}
    if nested:
        codes_of = np.sort(np.concatenate([np.linspace(-1, 1, 255), [0.003]])).astype(np.float32)
        offset = float(absmax.mean())
        outer = np.array([np.abs(part).max() for part in np.split(absmax - offset, range(8, len(absmax), 8))], dtype=np.float32)
        wide = outer.repeat(8)[:len(absmax)]
        codes = np.abs(codes_of[None] - ((absmax - offset) / wide)[:, None]).argmin(1)
        absmax = (codes_of[codes] * wide + np.float32(offset)).astype(np.float32)
        state |= dict(nested_blocksize=8, nested_dtype="float32", nested_offset=offset)
        parts |= {"weight.absmax": torch.from_numpy(codes.astype(np.uint8)), "weight.nested_absmax": torch.from_numpy(outer),
                  "weight.nested_quant_map": torch.from_numpy(codes_of)}
    else:
        parts["weight.absmax"] = torch.from_numpy(absmax)
    codes = np.abs(table[None, None] - (blocks / absmax[:, None])[:, :, None]).argmin(2)
    pairs = codes.reshape(-1, 2).astype(np.uint8)
    parts["weight"] = torch.from_numpy(pairs[:, :1] << np.uint8(4) | pairs[:, 1:])
    parts[f"weight.quant_state.bitsandbytes__{kind}"] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    return parts, (table[codes] * absmax[:, None]).reshape(weight.shape)


def eight_bits(weight):
    """bitsandbytes: integers of eight bits, with the largest absolute value of each output."""
    largest = np.abs(weight).max(1, keepdims=True)
    steps = np.round(weight / largest * 127).astype(np.int8)
    parts = {"weight": torch.from_numpy(steps), "SCB": torch.from_numpy(largest[:, 0]), "weight_format": torch.tensor(0, dtype=torch.uint8)}
    return parts, steps * largest / 127


E2M1 = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], dtype=np.float32)
E2M1 = np.concatenate([E2M1, -E2M1])


def floats_of_four_bits(groups, scales):
    """The codes of groups, two in a byte with the first in its lower half, and the numbers that they stand for."""
    codes = np.abs(E2M1 - (groups / scales[..., None])[..., None]).argmin(-1).astype(np.uint8)
    return torch.from_numpy(codes[..., ::2] | codes[..., 1::2] << np.uint8(4)), E2M1[codes] * scales[..., None]


def powers_of_two(groups):
    """A scale for each group, and its exponent plus 127."""
    largest = np.abs(groups).max(-1)
    exponents = np.floor(np.log2(np.where(largest == 0, 1, largest))) - 2
    return 2 ** exponents, torch.from_numpy((exponents + 127).astype(np.uint8))


def experts_of_four_bits(weight):
    """MXFP4 of gpt-oss."""
    groups = weight.swapaxes(1, 2)
    groups = groups.reshape(*groups.shape[:2], -1, 32)  # experts × outputs × groups × 32
    scales, exponents = powers_of_two(groups)
    return {"_blocks": floats_of_four_bits(groups, scales)[0], "_scales": exponents}


def packed_floats(weight, size):
    """MXFP4 (groups of 32) and NVFP4 (of 16) of compressed-tensors."""
    groups = weight.reshape(weight.shape[0], -1, size)
    if size == 32:
        scales, stored = powers_of_two(groups)
        parts = {"weight_scale": stored}
    else:
        divisor = np.float32(448 * 6 / np.abs(weight).max())
        stored = torch.from_numpy(np.abs(groups).max(-1) / 6 * divisor).to(FP8)
        scales = stored.float().numpy() / divisor
        parts = {"weight_scale": stored, "weight_global_scale": torch.tensor([divisor])}
    codes, dense = floats_of_four_bits(groups, scales)
    return parts | {"weight_packed": codes.reshape(weight.shape[0], -1)}, dense.reshape(weight.shape)


def bitsandbytes(bits, **settings):
    return {"quant_method": "bitsandbytes", "load_in_4bit": bits == 4, "load_in_8bit": bits == 8,
            "llm_int8_skip_modules": None, "bnb_4bit_quant_storage": "uint8"} | settings


def compressed(format, **weights):
    scheme = {"targets": ["Linear"], "input_activations": None, "output_activations": None,
              "weights": {"symmetric": True, "dynamic": False} | weights}
    return {"quant_method": "compressed-tensors", "format": format, "ignore": ["lm_head"],
            "quantization_status": "compressed", "config_groups": {"group_0": scheme}}


FP8 = torch.float8_e4m3fn


def save_torch(weights, folder):
    """Two shards, one of them with parameters, with views of larger storages, and with a tensor that is not in row-major order."""
    names = sorted(weights)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for i, (file, names) in enumerate(shards.items()):
        tensors = {name: weights[name] for name in names}
        if i == 1:
            tensors = {name: t.T.contiguous().T if t.dim() == 2 else torch.cat([t, t])[len(t):] for name, t in tensors.items()}
            tensors |= {name: torch.nn.Parameter(t) for name, t in tensors.items() if "layers.1" in name}
            tensors |= {"model.rotary.mask": torch.ones(3, dtype=torch.bool), "epoch": 3}
        torch.save(tensors, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file, names in shards.items() for name in names}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index) + "\n")


FORMATS = {
    "torch": ({}, None),
    # name: (quantization_config, function from a weight to stored parts and the weight they stand for)
    "gptq": (dict(quant_method="gptq", bits=4, group_size=GROUP, desc_act=True, sym=False),
             lambda w, rng: gptq(w, rng, 4, 1, act_order=True)),
    "gptq-v2": (dict(quant_method="gptq", bits=8, group_size=GROUP, desc_act=False, sym=False, checkpoint_format="gptq_v2"),
                lambda w, rng: gptq(w, rng, 8, 0)),
    "awq": (dict(quant_method="awq", bits=4, group_size=GROUP, zero_point=True, version="gemm"), awq),
    "fp8": (dict(quant_method="fp8", activation_scheme="dynamic", weight_block_size=[20, 12]),
            lambda w, _: scaled(w, FP8, (20, 12), "weight_scale_inv")),
    "compressed-fp8": (compressed("float-quantized", num_bits=8, type="float", strategy="tensor"),
                       lambda w, _: scaled(w, FP8, (None, None), "weight_scale", (1,))),
    "compressed-int8": (compressed("int-quantized", num_bits=8, type="int", strategy="channel"),
                        lambda w, _: scaled(w, torch.int8, (1, None), "weight_scale")),
    "compressed-int4": (compressed("pack-quantized", num_bits=4, type="int", strategy="group", group_size=GROUP),
                        packed_integers),
    # Only the widths that are whole groups of 32 are quantised.
    "compressed-mxfp4": (compressed("mxfp4-pack-quantized", num_bits=4, type="float", strategy="group", group_size=32),
                         lambda w, _: None if w.shape[1] % 32 else packed_floats(w, 32)),
    "compressed-nvfp4": (compressed("nvfp4-pack-quantized", num_bits=4, type="float", strategy="tensor_group", group_size=16),
                         lambda w, _: packed_floats(w, 16)),
    "bnb-nf4": (bitsandbytes(4, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True), lambda w, _: four_bits(w, "nf4", True)),
    "bnb-fp4": (bitsandbytes(4, bnb_4bit_quant_type="fp4", bnb_4bit_use_double_quant=False), lambda w, _: four_bits(w, "fp4", False)),
    "bnb-int8": (bitsandbytes(8), lambda w, _: eight_bits(w)),
    "mxfp4": ({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                                                  "model.embed_tokens", "lm_head"]}, None),
}
# Checkpoints other than `BASE`.
BASES = {"mxfp4": "gpt-oss"}

for name in sys.argv[1:] or FORMATS:
    settings, quantise = FORMATS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    base = BASES.get(name, BASE)
    out = HERE / f"{base}-{name}"
    out.mkdir(exist_ok=True)
    stored, dense = {}, {}
    for tensor, value in load_file(HERE / base / "model.safetensors").items():
        if base != BASE and tensor.endswith("_proj"):
            stored |= {tensor + part: numbers for part, numbers in experts_of_four_bits(value.numpy()).items()}
        elif quantise and "proj.weight" in tensor and (quantised := quantise(value.numpy(), rng)):
            parts, weight = quantised
            prefix = tensor.removesuffix("weight")
            stored |= {prefix + part: numbers.contiguous() for part, numbers in parts.items()}
            dense[tensor] = torch.from_numpy(np.ascontiguousarray(weight, dtype=np.float32))
        else:
            stored[tensor] = dense[tensor] = value
    config = json.loads((HERE / base / "config.json").read_text())
    if settings:
        save_file(stored, out / "model.safetensors", {"format": "pt"})
        config["quantization_config"] = settings
    else:
        save_torch(stored, out)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    by_itself = base != BASE
    read = out if by_itself else HERE / BASE
    model = tf.AutoModelForCausalLM.from_pretrained(read, dtype=torch.float32, attn_implementation="eager").eval()
    if not by_itself:
        missing, unexpected = model.load_state_dict(dense, strict=False)
        assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    prompts = json.loads((HERE / base / "golden.json").read_text())["prompts"]
    with torch.no_grad():
        logits = {f"logits.{i}": model(torch.tensor([p]), use_cache=False).logits[0].contiguous()
                  for i, p in enumerate(prompts)}
    save_file(logits, out / "golden.safetensors")
    print(name, sum(f.stat().st_size for f in out.iterdir()) // 1024, "KiB")
