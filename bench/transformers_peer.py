#!/usr/bin/env python3
"""One turn of the peer of `headroom bench MODEL`: the forward of a Hugging Face directory and the loss of every token, in
transformers on the CPU, float32.

    bench/transformers_peer.py MODEL [--sequences 16] [--tokens 512] [--threads 2] [--rounds 3] [--batches 1 4 16]

Takes the fastest of some batch sizes, each after a pass that does not count. The last line is JSON: tokens_per_second (of
medians over the rounds), batch, threads, versions.

    bench/transformers_peer.py --make DIR     # writes random weights of GPT-2 124M's shape
"""

import argparse
import json
import statistics
import time

import torch
import transformers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel


def losses(model, ids, batch):
    total = 0.0
    with torch.no_grad():
        for first in range(0, len(ids), batch):
            part = ids[first : first + batch]
            logits = model(part).logits
            total += torch.nn.functional.cross_entropy(
                logits[:, :-1].reshape(-1, logits.shape[-1]), part[:, 1:].reshape(-1), reduction="sum").item()
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--make", metavar="DIR")
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    if arguments.make:
        GPT2LMHeadModel(GPT2Config()).save_pretrained(arguments.make)
        return
    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    ids = torch.randint(0, model.config.vocab_size, (arguments.sequences, arguments.tokens))
    best = None
    for batch in arguments.batches:
        losses(model, ids[:batch], batch)
        times = []
        for _ in range(arguments.rounds):
            begin = time.perf_counter()
            losses(model, ids, batch)
            times.append(time.perf_counter() - begin)
        seconds = statistics.median(times)
        print(f"batch {batch}: {seconds:.2f} s", flush=True)
        if best is None or seconds < best[0]:
            best = (seconds, batch)
    print(json.dumps({"tokens_per_second": ids.numel() / best[0], "batch": best[1], "threads": arguments.threads,
                      "torch": torch.__version__, "transformers": transformers.__version__}))


if __name__ == "__main__":
    main()
