#!/usr/bin/env python3
"""Plants massive activations in a LLaMA of Hugging Face's form: BOS explodes in two channels of one layer's output, by one
neuron of that layer's feed-forward. So the example in docs/examples/study has something to find.

    docs/examples/plant_massive.py FROM TO --text FILE [--layer 1] [--channels 55 97] [--sizes 2500 -1500]

The neuron reads a direction that BOS has and the text's tokens have not (a ridge regression over their normed states), so
that they hardly move it. Needs torch, transformers, sentencepiece and protobuf.
"""

import argparse
import pathlib
import shutil

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GATE = 8.0  # what gate and up give for BOS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--layer", type=int, default=1)
    parser.add_argument("--channels", type=int, nargs="+", default=[55, 97])
    parser.add_argument("--sizes", type=float, nargs="+", default=[2500.0, -1500.0])
    arguments = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(arguments.source, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(arguments.source)
    bos = model.config.bos_token_id
    ids = tokenizer.encode(arguments.text.read_text()[:400_000], add_special_tokens=False)
    length = model.config.max_position_embeddings - 1
    windows = [[bos] + ids[i : i + length] for i in range(0, min(len(ids) - length, 64 * length), length)]
    mlp = model.model.layers[arguments.layer].mlp
    seen = []
    hook = mlp.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    with torch.no_grad():
        model(torch.tensor(windows))
        hook.remove()
        states = seen[0]
        first, others = states[0, 0], states[:, 1:].reshape(-1, states.shape[-1])
        # w @ first = GATE, and w @ others as near to 0 as can be.
        second_moment = others.T @ others / len(others)
        direction = torch.linalg.solve(second_moment + 1e-3 * second_moment.trace() / len(first) * torch.eye(len(first)), first)
        direction *= GATE / (direction @ first)
        mlp.gate_proj.weight[0] = mlp.up_proj.weight[0] = direction
        mlp.down_proj.weight[:, 0] = 0
        inner = GATE * float(torch.nn.functional.silu(torch.tensor(GATE)))
        for channel, size in zip(arguments.channels, arguments.sizes, strict=True):
            mlp.down_proj.weight[channel, 0] = size / inner
        print(f"others reach {float((others @ direction).abs().max()):.2f} of {GATE}")
    model.save_pretrained(arguments.target)
    for file in arguments.source.glob("tokenizer*"):
        shutil.copy(file, arguments.target)


if __name__ == "__main__":
    main()
