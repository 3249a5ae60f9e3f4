#!/usr/bin/env python3
"""Does an exported directory, loaded by transformers, give what `headroom forward` computed, and its tokenizer the same ids?

    tests/check_hf_export.py [--texts IDS.json] DIR FORWARD.h5 [DIR FORWARD.h5 ...]

IDS.json: [{"text": ..., "ids": [...]}, ...] as Headroom encodes them, without BOS. Needs torch, transformers and h5py, for
SentencePiece's tokenizers also sentencepiece and protobuf; the suite runs it where they are there
(tests/launch/convert_test.cpp). transformers computes in float64.
"""

import argparse
import importlib.util
import json
import sys

import h5py
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-5  # of logits and states: float32 against float64
MORE = 8  # tokens generated


def distance(ours, theirs):
    ours = torch.from_numpy(ours).double()
    return ((ours - theirs).norm() / theirs.norm()).item()


def check_forward(model, sequence, name):
    """Logits, what enters each layer, and the final states of one sequence."""
    ids = torch.from_numpy(sequence["ids"][...]).long().unsqueeze(0)
    with torch.no_grad():
        output = model(ids, output_hidden_states=True, use_cache=False)
    layers = len(output.hidden_states) - 1
    pairs = [("logits", sequence["logits"][...], output.logits[0]), ("final", sequence["final"][...], output.hidden_states[-1][0])]
    pairs += [(f"hidden[{i}]", sequence["hidden"][i], output.hidden_states[i][0]) for i in range(layers)]
    worst = 0.0
    for what, ours, theirs in pairs:
        far = distance(ours, theirs)
        if not far < TOLERANCE:
            sys.exit(f"{name}: {what} is {far:.1e} from transformers'")
        worst = max(worst, far)
    return worst


def check_generation(model, ids, limit):
    """Greedy decoding with cached keys and values, by generate(), is that of whole forwards; padding changes nothing."""
    more = min(MORE, limit - len(ids))
    if more < 1:
        return 0
    prompt = torch.tensor([ids])
    whole = prompt
    with torch.no_grad():
        for _ in range(more):
            whole = torch.cat((whole, model(whole, use_cache=False).logits[:, -1:].argmax(-1)), 1)
        options = dict(max_new_tokens=more, min_new_tokens=more, do_sample=False, pad_token_id=0, eos_token_id=None)
        cached = model.generate(prompt, attention_mask=torch.ones_like(prompt), **options)
        padded = torch.cat((torch.zeros(1, 2, dtype=torch.long), prompt), 1)
        mask = (torch.arange(padded.shape[1]) >= 2).long().unsqueeze(0)
        behind_padding = model.generate(padded, attention_mask=mask, **options)
    if not torch.equal(cached, whole):
        sys.exit(f"generate gives {cached.tolist()}, forwards give {whole.tolist()}")
    if not torch.equal(behind_padding[:, 2:], whole):
        sys.exit(f"behind padding generate gives {behind_padding[:, 2:].tolist()}, forwards give {whole.tolist()}")
    return more


def check_loss(model, ids, name):
    """The loss is the mean, or the share of a larger batch that Trainer's gradient accumulation asks for."""
    ids = torch.tensor([ids])
    with torch.no_grad():
        output = model(ids, labels=ids)
        share = model(ids, labels=ids, num_items_in_batch=torch.tensor(1000)).loss
    total = torch.nn.functional.cross_entropy(output.logits[0, :-1], ids[0, 1:], reduction="sum")
    for what, loss, expected in ("mean", output.loss, total / (ids.shape[1] - 1)), ("share", share, total / 1000):
        if not abs(loss - expected) < TOLERANCE * expected:
            sys.exit(f"{name}: the {what} loss is {loss}, not {expected}")
    if type(model).__name__ != "HeadroomForCausalLM":
        return
    try:
        model(ids, output_hidden_state=True)
    except TypeError as error:
        assert "output_hidden_state" in str(error), error
    else:
        sys.exit(f"{name}: a misspelt argument is taken")


def check_tokenizer(directory, file):
    tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=True)
    texts = json.load(open(file))
    for entry in texts:
        ids = tokenizer(entry["text"], add_special_tokens=False)["input_ids"]
        if ids != entry["ids"]:
            sys.exit(f"{entry['text']!r}: AutoTokenizer gives {ids}, Headroom {entry['ids']}")
        if tokenizer.decode(ids) != entry["text"]:
            sys.exit(f"{entry['text']!r} comes back as {tokenizer.decode(ids)!r}")
        with_bos = tokenizer(entry["text"])["input_ids"]
        if with_bos != [tokenizer.bos_token_id] + ids:
            sys.exit(f"{entry['text']!r}: with BOS it is {with_bos}")
    return len(texts)


def check(directory, forward, texts):
    model, loaded = AutoModelForCausalLM.from_pretrained(
        directory, trust_remote_code=True, dtype=torch.float64, output_loading_info=True
    )
    model.eval()
    wrong = {key: sorted(map(str, names)) for key, names in loaded.items() if names and key.endswith("_keys")}
    if wrong:
        sys.exit(f"{directory}: {wrong}")
    told = []
    with h5py.File(forward) as file:
        sequences = file["sequences"]
        worst = max(check_forward(model, sequences[name], f"{directory}, sequence {name}") for name in sequences)
        told.append(f"{len(sequences)} sequences within {worst:.1e}")
        first = sequences["0"]["ids"][:4].tolist()
    check_loss(model, first, directory)
    told.append(f"{check_generation(model, first, model.config.max_position_embeddings)} tokens generated")
    if texts:
        told.append(f"{check_tokenizer(directory, texts)} texts tokenized")
    print(f"{directory}: {type(model).__name__}, {', '.join(told)}")


def main():
    parser = argparse.ArgumentParser()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    parser.add_argument("--texts")
    parser.add_argument("pairs", nargs="+", metavar="DIR FORWARD.h5")
    arguments = parser.parse_args()
    texts = arguments.texts
    if texts and not all(map(importlib.util.find_spec, ("sentencepiece", "google"))):  # google.protobuf
        print("NOT CHECKED: tokenizers, for want of sentencepiece or protobuf")
        texts = None
    pairs = arguments.pairs
    for directory, forward in zip(pairs[::2], pairs[1::2]):
        check(directory, forward, texts)
    print(f"{len(pairs) // 2} directories")


if __name__ == "__main__":
    main()
