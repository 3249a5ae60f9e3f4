#!/usr/bin/env python3
"""Prints the top activations of a layer from a snapshot file: an example of reading one with h5py.

    python3 docs/read_snapshot.py runs/NAME/snapshots/step-00000100.h5 --layer 3

Needs h5py (Debian: python3-h5py). The format is described in docs/snapshot-format.md.
"""
import argparse
import sys

try:
    import h5py
    import numpy
except ImportError as error:
    sys.exit(f"{error}: install h5py (Debian: python3-h5py, for /usr/bin/python3)")


def main():
    parser = argparse.ArgumentParser(description="Print the top activations of a layer of a snapshot.")
    parser.add_argument("snapshot", help="a .h5 file of runs/NAME/snapshots")
    parser.add_argument("--layer", type=int, default=None, help="counted from 0 (default: the one with the largest ratio)")
    parser.add_argument("--site", default="block_output", help="default: block_output")
    parser.add_argument("--top", type=int, default=5, help="values a sequence (default: 5)")
    arguments = parser.parse_args()

    try:
        file = h5py.File(arguments.snapshot, "r")
    except OSError as error:
        parser.error(f"{arguments.snapshot}: {error}")
    with file as snapshot:
        if snapshot.attrs.get("format") != "headroom-snapshot":
            parser.error(f"{arguments.snapshot} is not a Headroom snapshot")
        if arguments.site not in snapshot["sites"]:
            parser.error(f"no site {arguments.site}; there are: {', '.join(snapshot['sites'])}")
        site = snapshot["sites"][arguments.site]
        probe = snapshot["probe"]

        # Statistics are [layers, sequences]: here their mean over the sequences.
        largest = site["max_abs"][:].mean(axis=1)
        median = site["median_abs"][:].mean(axis=1)
        ratio = largest / median
        layer = int(ratio.argmax()) if arguments.layer is None else arguments.layer
        if not 0 <= layer < len(ratio):
            parser.error(f"--layer {layer}: the snapshot has layers 0 to {len(ratio) - 1}")

        print(f"{snapshot.attrs['run']} ({snapshot.attrs['variant']}), step {snapshot.attrs['step']}, "
              f"{snapshot.attrs['tokens_seen']} tokens seen")
        print(f"{arguments.site}, layer {layer} of {len(ratio)}: max {largest[layer]:.4g}, "
              f"median {median[layer]:.4g}, ratio {ratio[layer]:.4g} (means over {len(probe['lengths'])} sequences)")
        if snapshot["attention/mass_first"].shape[0] > layer and len(ratio) > 1:
            first = numpy.nanmean(snapshot["attention/mass_first"][layer])  # NaN: a sequence of one token
            bias = numpy.nanmean(snapshot["attention/mass_bias"][layer])
            print(f"attention to the first token {first:.3f}, to the bias slot {bias:.3f} (mean over heads and sequences)")

        pieces = probe["pieces"].asstr()
        for sequence, kind in enumerate(probe["kind"].asstr()):
            bos = "with BOS" if probe["bos"][sequence] else "without BOS"
            print(f"\nsequence {sequence}, {kind}, {bos}: {probe['text'].asstr()[sequence][:60]!r}")
            values = site["top_values"][layer, sequence]
            tokens = site["top_token"][layer, sequence]
            channels = site["top_channel"][layer, sequence]
            for value, token, channel in list(zip(values, tokens, channels))[:arguments.top]:
                if token >= 0:  # -1: the sequence has fewer values
                    print(f"  {value:12.4f}  token {token:4d} {pieces[sequence, token]!r:16}  channel {channel}")


if __name__ == "__main__":
    main()
