"""A journal record that was changed, and a snapshot of a newer format, met by workers that must take shards over.

The shard in question stays down and says why, the other one plays on; put right, it comes back by itself, and nothing
that players saw is lost.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from loadtest.cluster import Cluster, Shape
from loadtest.failovers import goes_on
from loadtest.trial import Trial
from overworld.store import keys
from overworld.store.snapshots import MAGIC, decode_manifest, encode_manifest
from tests.end_to_end.outcomes import assert_no_stack_trace, assert_sound, events, heads, total, until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]

SHARDS = 2
BAD, GOOD = 0, 1
BOTS = 16
SHAPE = Shape(shards=f"{SHARDS}x1", audit_ticks=100, seed=7)
DIGEST_BYTES = 32
Repair = Callable[[], Awaitable[None]]


async def play_with(trial: Trial, spoil: Callable[[], Awaitable[Repair]], why: str) -> None:
    """Both workers die, something of shard 0 is spoilt, the workers start again; later it is put right."""
    cluster = trial.cluster
    await trial.play(2)
    for worker in cluster.workers:
        worker.process.kill()
    repair = await spoil()
    await cluster.start()
    await until(lambda: failed(cluster), "the shard stays down")
    assert {line["shard"] for line in failed(cluster)} == {BAD}
    assert all(why in line["reason"] for line in failed(cluster))
    bad, good = await heads(cluster, SHARDS)
    await trial.play(2)
    now_bad, now_good = await heads(cluster, SHARDS)
    assert now_bad["tick"] == bad["tick"]
    assert now_good["tick"] > good["tick"]
    # Fewer and fewer tries: each pause is twice as long as the one before.
    pauses = [[line["again_in_s"] for line in events(node, "shard_failed")] for node in cluster.workers]
    assert all(later == 2 * earlier for each in pauses for earlier, later in pairwise(each))
    assert total(cluster.workers, "overworld_shard_ended_total", reason="failed") >= 1
    await repair()
    await goes_on(cluster, SHARDS)
    await trial.play(2)
    assert_no_stack_trace(cluster)
    await trial.leave()
    await trial.finish()


def failed(cluster: Cluster) -> list[dict[str, Any]]:
    return [line for node in cluster.workers for line in events(node, "shard_failed")]


async def test_a_shard_whose_journal_was_changed_stays_down_until_it_is_put_right(tmp_path: Path) -> None:
    # No snapshot covers the record.
    shape = replace(SHAPE, worker_env={"OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "600"})
    async with Trial(tmp_path, shape, BOTS, say=print) as trial:
        redis = Redis.from_url(trial.cluster.redis_url)
        journal = keys.journal(shape.world, BAD)

        async def write(rows: list[Any]) -> None:
            pipe: Any = redis.pipeline()
            pipe.delete(journal)
            for row_id, fields in rows:
                pipe.xadd(journal, fields, id=row_id)
            await pipe.execute()

        async def spoil() -> Repair:
            rows: Any = await redis.xrange(journal)
            spoilt = [(row_id, dict(fields)) for row_id, fields in rows]
            payload = bytearray(spoilt[-5][1][b"p"])
            payload[len(payload) // 2] ^= 1
            spoilt[-5][1][b"p"] = bytes(payload)
            await write(spoilt)

            async def repair() -> None:
                await write(rows)

            return repair

        await play_with(trial, spoil, "cannot be recovered")
        await redis.aclose()
    assert_sound(trial.findings())


async def test_a_shard_with_a_snapshot_of_a_newer_format_is_left_to_newer_workers(tmp_path: Path) -> None:
    shape = replace(SHAPE, worker_env={"OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "1"})
    async with Trial(tmp_path, shape, BOTS, say=print) as trial:

        async def spoil() -> Repair:
            """As a newer worker would have left it: another format, and everything else in order."""
            blobs = tmp_path / "blobs"
            manifest_file = blobs / "manifest" / shape.world / str(BAD)
            was = manifest_file.read_bytes()
            manifest = decode_manifest(was, manifest_file.name)
            newest = manifest.entries[-1]
            body = bytearray((blobs / newest.object).read_bytes()[:-DIGEST_BYTES])
            struct.pack_into("<H", body, len(MAGIC), 99)
            digest = hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()
            newest.object = f"{newest.object.rpartition('-')[0]}-{digest.hex()[:16]}"
            (blobs / newest.object).write_bytes(body + digest)
            manifest_file.write_bytes(encode_manifest(manifest))

            async def repair() -> None:
                # Workers that tried have claimed the manifest meanwhile: only the entry is put right.
                now = decode_manifest(manifest_file.read_bytes(), manifest_file.name)
                now.entries[-1].object = decode_manifest(was, manifest_file.name).entries[-1].object
                manifest_file.write_bytes(encode_manifest(now))

            return repair

        await play_with(trial, spoil, "format 99")
    assert_sound(trial.findings())
