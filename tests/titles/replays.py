"""Runs a storm over every title and prints its digests: the same on any machine. `python -m tests.titles.replays`."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np

from tests.titles.storm import TITLES, Storm

SEED = 20
TICKS = 200
DIGEST_EVERY = 20


def digests(title: str, ticks: int = TICKS) -> list[str]:
    """State digests of a storm every few ticks, and at last one of all the bytes that watchers were sent."""
    storm = Storm(title, SEED)
    sent = hashlib.blake2b(digest_size=16)
    found = []
    for _ in range(ticks):
        storm.step()
        sent.update(storm.play.core.encode().data)
        if storm.play.core.tick % DIGEST_EVERY == 0:
            found.append(storm.play.core.digest().hex())
    return [*found, sent.hexdigest()]


def simd() -> list[str]:
    """Instruction sets beyond its baseline that numpy uses in this process."""
    config = np.show_config(mode="dicts")
    assert isinstance(config, dict)
    return list(config["SIMD Extensions"].get("found", []))


if __name__ == "__main__":
    json.dump({"simd": simd(), **{title: digests(title) for title in sorted(TITLES)}}, sys.stdout)
