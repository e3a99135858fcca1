"""Makes the tables of the kinds of blocks whose codes are indices, and blocks with the numbers that the package `gguf`
dequantises them to.

usage: python make.py     (needs gguf 0.19, numpy and safetensors; writes here and into ../src/blocks/grids)
"""

import pathlib

import gguf
import numpy as np
from gguf import quants
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
KINDS = ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4"]
GRIDS = {"iq1": quants.IQ1_S, "iq2_xxs": quants.IQ2_XXS, "iq2_xs": quants.IQ2_XS, "iq2_s": quants.IQ2_S,
         "iq3_xxs": quants.IQ3_XXS, "iq3_s": quants.IQ3_S}
rng = np.random.default_rng(7)


def grids():
    for name, kind in GRIDS.items():
        kind.init_grid()
        codes = np.searchsorted(np.array(kind.grid_map), kind.grid.astype(int).ravel()).astype(np.uint8)
        bits = 2 if len(kind.grid_map) <= 4 else 4
        parts = codes.reshape(-1, 8 // bits)
        packed = sum(parts[:, i] << np.uint8(bits * i) for i in range(8 // bits))
        (HERE / f"../src/blocks/grids/{name}.grid").write_bytes(packed.astype(np.uint8).tobytes())


def random(kind, count):
    """Random blocks, with a scale for the whole block that is an ordinary number."""
    quant = gguf.GGMLQuantizationType[kind]
    entries, size = gguf.GGML_QUANT_SIZES[quant]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    scale = rng.uniform(0.01, 0.1, count).astype(np.float16)
    if kind == "IQ1_M":
        bits = scale.view(np.uint16)
        for i in range(4):
            blocks[:, -7 + 2 * i] = blocks[:, -7 + 2 * i] & 15 | ((bits >> (4 * i) & 15) << 4).astype(np.uint8)
    elif kind == "MXFP4":
        blocks[:, 0] = np.concatenate([[0, 1, 2, 127], rng.integers(110, 135, count)])[:count]
    elif kind.startswith("TQ"):
        blocks[:, -2:] = scale.view(np.uint8).reshape(-1, 2)
    else:
        blocks[:, :2] = scale.view(np.uint8).reshape(-1, 2)
    return blocks


def every_index(kind, count):
    """Blocks with a scale of 1 that hold every index of the table. Their numbers fit f16."""
    blocks = random(kind, count)
    blocks[:, :2] = np.array([1.0], dtype=np.float16).view(np.uint8)
    wide = kind.startswith("IQ3")
    indices = rng.permutation(count * (64 if wide else 32)).reshape(count, -1)
    low, high = (indices & 255).astype(np.uint8), indices >> 8
    if kind == "IQ1_S":
        bits = blocks[:, 34:].copy().view(np.uint16) & 0xF000
        for i in range(32):
            bits[:, i // 4] |= (high[:, i] << (3 * (i % 4))).astype(np.uint16)
        blocks[:, 34:] = bits.view(np.uint8)
        blocks[:, 2:34] = low
    elif kind == "IQ2_XXS":
        blocks[:, 2:].reshape(count, 8, 8)[:, :, :4] = low.reshape(count, 8, 4)
    elif kind == "IQ2_XS":
        bits = blocks[:, 2:66].copy().view(np.uint16) & 0xFE00 | indices.astype(np.uint16)
        blocks[:, 2:66] = bits.view(np.uint8)
    elif kind == "IQ2_S":
        blocks[:, 2:34] = low
        blocks[:, 66:74] = sum(high.reshape(count, 8, 4)[:, :, i] << (2 * i) for i in range(4))
    elif kind == "IQ3_XXS":
        blocks[:, 2:66] = low
    elif kind == "IQ3_S":
        blocks[:, 2:66] = low
        blocks[:, 66:74] = sum(high.reshape(count, 8, 8)[:, :, i] << i for i in range(8))
    return blocks


def dequantised(kind, blocks):
    return quants.dequantize(blocks, gguf.GGMLQuantizationType[kind]).astype(np.float32)


grids()
tensors = {}
for kind in KINDS:
    entries, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    blocks = random(kind, 512 // entries)
    tensors[f"{kind}.blocks"], tensors[f"{kind}.numbers"] = blocks.reshape(1, -1), dequantised(kind, blocks).reshape(1, -1)
for kind, count in {"IQ1_S": 64, "IQ2_XXS": 8, "IQ2_XS": 16, "IQ2_S": 32, "IQ3_XXS": 4, "IQ3_S": 8}.items():
    blocks = every_index(kind, count)
    numbers = dequantised(kind, blocks)
    assert (numbers.astype(np.float16) == numbers).all(), kind
    tensors[f"{kind}.all.blocks"], tensors[f"{kind}.all.numbers"] = blocks, numbers.astype(np.float16)
save_file(tensors, HERE / "blocks.safetensors")
print((HERE / "blocks.safetensors").stat().st_size // 1024, "KiB")
