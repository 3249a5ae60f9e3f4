#!/usr/bin/env python3
"""Do a run's TensorBoard event files, read by TensorBoard itself, hold the numbers of its metrics.jsonl?

    tests/check_tensorboard.py RUN      needs the Python package tensorboard; not part of the suite, which checks the
                                        files' framing and checksums without it
"""

import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def scalars(value, tag):
    """(tag, number) of everything numeric in a record: "eval/loss", "layer_max/00", "dyt_alpha/00/1"."""
    if isinstance(value, (bool, int, float)):
        yield tag, float(value)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from scalars(inner, f"{tag}/{index}" if "/" in tag else f"{tag}/{index:02}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from scalars(inner, f"{tag}/{name}" if tag else name)


def main():
    run = pathlib.Path(sys.argv[1])
    expected = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if "step" in record:
            step = record.pop("step")
            for tag, number in scalars(record, ""):
                expected[tag, step] = struct.unpack("f", struct.pack("f", number))[0]  # events hold float32

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    found = {(tag, event.step): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
    if not expected or found != expected:
        wrong = sorted(set(expected.items()) ^ set(found.items()))
        sys.exit(f"{run}: {len(wrong)} scalars differ, the first: {wrong[:5]}")
    print(f"{run}: {len(found)} scalars of {len({step for _, step in found})} steps are those of metrics.jsonl")


if __name__ == "__main__":
    main()
