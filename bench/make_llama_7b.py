#!/usr/bin/env python3
"""Random bf16 weights of LLaMA-2-7B's shape in Hugging Face's form, 13.5 GB in four files, written as they come: for a
study of a model that a machine's memory does not hold. Needs numpy only.

    bench/make_llama_7b.py DIR [--layers 32]
    build/headroom analyze DIR --tokenizer TOKENIZER --text TEXT... --out DIR-study

Weights are normal with deviation 0.02, cut to bf16 from one block of 2^24 of them; norms are 1.
"""

import argparse
import json
import pathlib
import struct

import numpy as np

HIDDEN, FFN, VOCAB, FILES = 4096, 11008, 32000, 4
BLOCK = 1 << 24


def tensors(layers):
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for layer in range(layers):
        name = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{name}{norm}.weight", (HIDDEN,)
        for letter in "qkvo":
            yield f"{name}self_attn.{letter}_proj.weight", (HIDDEN, HIDDEN)
        for part in ("gate", "up"):
            yield f"{name}mlp.{part}_proj.weight", (FFN, HIDDEN)
        yield f"{name}mlp.down_proj.weight", (HIDDEN, FFN)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCAB, HIDDEN)


def write_file(path, part, block, first):
    header, at = {}, 0
    for name, shape in part:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for index, (_, shape) in enumerate(part, first):
            if len(shape) == 1:
                file.write(np.full(shape, 0x3F80, np.uint16).tobytes())
                continue
            left, begin = int(np.prod(shape)), index * 506_816 % BLOCK  # each tensor begins elsewhere
            while left:
                take = min(left, BLOCK - begin)
                file.write(block[begin : begin + take].tobytes())
                left, begin = left - take, 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--layers", type=int, default=32)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": VOCAB, "hidden_size": HIDDEN,
              "intermediate_size": FFN, "num_hidden_layers": arguments.layers, "num_attention_heads": 32,
              "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "torch_dtype": "bfloat16"}
    (arguments.directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    normal = np.random.default_rng(1).standard_normal(BLOCK, np.float32) * np.float32(0.02)
    block = (normal.view(np.uint32) >> 16).astype(np.uint16)
    everything = list(tensors(arguments.layers))
    files = {}
    for number in range(FILES):
        first = number * len(everything) // FILES
        part = everything[first : (number + 1) * len(everything) // FILES]
        name = f"model-{number + 1:05}-of-{FILES:05}.safetensors"
        write_file(arguments.directory / name, part, block, first)
        files |= {tensor: name for tensor, _ in part}
        print(f"{name}: {len(part)} tensors", flush=True)
    index = {"metadata": {}, "weight_map": files}
    (arguments.directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
