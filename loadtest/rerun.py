"""Runs recorded journals again, in a process of its own: `python -m loadtest.rerun FILE` prints digests as JSON.

A recording is one pickle of plain data: what the world is, and each shard's records, oldest first.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from loadtest.cluster import Shape
from loadtest.journal import Lineage
from loadtest.worlds import world_of
from overworld.shard import record as records
from overworld.shard.core import ShardCore


@dataclass(frozen=True)
class Recording:
    """What a rerun needs. `shards`: the encoded records of each."""

    title: str
    world: str
    seed: int
    grid: str
    shards: tuple[tuple[int, tuple[bytes, ...]], ...]


def save(path: Path, shape: Shape, lineages: list[Lineage]) -> None:
    """Write a recording of whole lineages."""
    shards = tuple((lineage.shard, tuple(map(records.encode, lineage.records))) for lineage in lineages)
    plain = vars(Recording(shape.title, shape.world, shape.seed, shape.shards, shards))
    path.write_bytes(pickle.dumps(plain))


def rerun(recording: Recording) -> dict[str, Any]:
    """Replay every shard from its first tick; a digest is taken at every tick."""
    shape = replace(Shape(), title=recording.title, world=recording.world, seed=recording.seed, shards=recording.grid)
    contract, title = world_of(shape)
    found: dict[str, Any] = {}
    for shard, encoded in recording.shards:
        core = ShardCore(contract, title, shard)
        core.setup()
        every, compared, wrong = xxhash.xxh3_128(), 0, 0
        for data in encoded:
            record = records.decode(data)
            core.step(record.inputs)
            digest = core.digest()
            every.update(digest)
            if record.state_digest:
                compared += 1
                wrong += digest != record.state_digest
        found[str(shard)] = {
            "ticks": core.tick,
            "compared_with_live": compared,
            "differ_from_live": wrong,
            "last": core.digest().hex(),
            "all": every.hexdigest(),
        }
    return found


def main() -> None:
    """Rerun a file, and say in what environment."""
    recording = Recording(**pickle.loads(Path(sys.argv[1]).read_bytes()))
    features = np.show_config(mode="dicts")["SIMD Extensions"]
    environment = {
        "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", ""),
        "simd": features.get("found", []),
    }
    print(json.dumps({"environment": environment, "shards": rerun(recording)}))


if __name__ == "__main__":
    main()
