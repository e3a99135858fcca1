"""Writes the weights of a GGUF file, dequantised, as a folder in Hugging Face's layout.

usage: to_folder.py MODEL.gguf KIND FOLDER     (needs torch, transformers and gguf; KIND is `float32` or `bfloat16`)
"""
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main():
    file, kind, folder = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    # Renamed only when it is complete, so that an interrupted run leaves no broken folder.
    part = folder.with_name(f".{folder.name}.part")
    # Otherwise the weights would stay quantised.
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=getattr(torch, kind),
                                                 quantization_config=GgufConfig(dequantize=True))
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(part)
    part.rename(folder)


main()
