"""Blob storage answers with errors, does not answer, or is full, with real processes and players."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.cluster import Cluster, Shape
from loadtest.failovers import goes_on
from loadtest.machine import REPOSITORY
from loadtest.trial import Trial
from tests.end_to_end.outcomes import assert_no_stack_trace, assert_sound, events, heads, total, until
from tests.parts.http_proxy import HttpProxy

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]

SHARDS = 2
BOTS = 16
SHAPE = Shape(
    shards=f"{SHARDS}x1",
    audit_ticks=100,
    seed=6,
    worker_env={"OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "1", "OVERWORLD_WORKER_SNAPSHOT_TIMEOUT_S": "2"},
)
PLAYED_TICKS = 40


class BehindProxy(Cluster):
    """Its processes reach Azurite through a proxy."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        super().__init__(folder, shape)
        self.proxy = HttpProxy(0)

    async def start_stores(self) -> None:
        await super().start_stores()
        assert self.azurite is not None
        self.proxy.target_port = self.azurite.port
        await self.proxy.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self.proxy.__aexit__(None, None, None)

    @property
    def blob_url(self) -> str:
        return super().blob_url.replace(f":{self.proxy.target_port}/", f":{self.proxy.port}/")


async def grown(cluster: Cluster, field: str, by: int) -> None:
    """Wait until this field of every shard's head is so much larger."""
    before = now = await heads(cluster, SHARDS)
    for _ in range(600):
        if all(b[field] - a[field] >= by for a, b in zip(before, now, strict=True)):
            return
        await asyncio.sleep(0.1)
        now = await heads(cluster, SHARDS)
    raise AssertionError(f"{field} did not grow by {by} in a minute: {before}, {now}")


async def trimmed_on(cluster: Cluster) -> None:
    """Every shard's journal has been trimmed once more."""
    await grown(cluster, "floor", 1)


def failures(cluster: Cluster) -> float:
    return total(cluster.workers, "overworld_snapshot_failed_total")


async def plays_on_untrimmed(cluster: Cluster) -> None:
    """Snapshots fail for every shard; ticks go on, and no journal is trimmed meanwhile."""
    before = failures(cluster)
    await until(lambda: failures(cluster) >= before + 2 * SHARDS, "snapshots fail")
    floors = [head["floor"] for head in await heads(cluster, SHARDS)]
    stalls = total(cluster.workers, "overworld_stalls_total")
    await grown(cluster, "tick", PLAYED_TICKS)
    assert [head["floor"] for head in await heads(cluster, SHARDS)] == floors
    assert total(cluster.workers, "overworld_stalls_total") == stalls


async def test_blob_storage_that_fails_or_hangs_stops_no_play_and_no_takeover_for_good(tmp_path: Path) -> None:
    shape = replace(SHAPE, blob="azurite")
    cluster = BehindProxy(tmp_path, shape)
    async with Trial(tmp_path, shape, BOTS, cluster=cluster, say=print) as trial:
        await trimmed_on(cluster)
        for status in (500, 503):
            cluster.proxy.status = status
            await plays_on_untrimmed(cluster)
            cluster.proxy.status = 0
            await trimmed_on(cluster)
        cluster.proxy.hang = True
        await plays_on_untrimmed(cluster)

        # A worker dies meanwhile: nobody can recover its shards, until blob storage is back.
        victim = next(w for w in cluster.workers if w.metrics().total("overworld_shards_owned", phase="running"))
        heir = next(worker for worker in cluster.workers if worker is not victim)
        victim.process.kill()
        cluster.proxy.hang, cluster.proxy.status = False, 503
        await until(lambda: events(heir, "shard_failed"), "a takeover fails")
        cluster.proxy.status = 0
        await goes_on(cluster, SHARDS)
        await trimmed_on(cluster)
        await cluster.start_node(victim)
        assert_no_stack_trace(cluster)
        await trial.leave()
        await trial.finish()
    assert_sound(trial.findings())
    # Said when it begins and when it is over, for each shard, not at every try.
    for name in ("snapshot_failed", "snapshots_work_again"):
        said = [line["shard"] for node in cluster.workers for line in events(node, name)]
        assert SHARDS <= len(said) <= 4 * SHARDS, f"{name}: {said}"


async def test_without_blob_storage_no_worker_starts_and_says_why_in_a_line(tmp_path: Path, free_port: int) -> None:
    async with Cluster(tmp_path, replace(SHAPE, workers=0, gateways=0)) as cluster:
        account = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;"
        unreachable = f"azurite:{account}BlobEndpoint=http://127.0.0.1:{free_port}/a;Container=worlds"
        unwritable = tmp_path / "a-file"
        unwritable.write_text("no folder")
        for url in (unreachable, str(unwritable)):
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "overworld", "worker"],
                cwd=REPOSITORY,
                env={**cluster.environment(), "OVERWORLD_BLOB_URL": url},
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
            assert done.returncode == 2, done.stderr
            assert "OVERWORLD_BLOB_URL" in done.stderr
            assert "Traceback" not in done.stderr
            assert len(done.stderr.splitlines()) == 1, done.stderr


class OnSmallDisk(Cluster):
    """Its workers keep snapshots on a disk of 1 MB that only they see: a mount of their own."""

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def blob_url(self) -> str:
        return f"dir:{self.disk}"

    def start_on_disk(self) -> None:
        self.disk.mkdir()
        own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
        mount = f"mount -t tmpfs -o size=1m none '{self.disk}' && exec \"$@\""
        for worker in self.workers:
            worker.process.argv = [*own, "sh", "-c", mount, "sh", *worker.process.argv]

    async def start(self) -> None:
        if not self.disk.exists():
            self.start_on_disk()
        await super().start()

    def seen_by_worker(self, name: str) -> Path:
        """A path on the disk, through the worker's eyes."""
        return Path(f"/proc/{self.workers[0].process.pid}/root{self.disk / name}")


def fill(path: Path) -> None:
    """Write into a file until nothing more fits on its disk."""
    with path.open("wb", buffering=0) as filler:
        for _ in range(4096):
            try:
                filler.write(b"x" * 1024)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    return
                raise
    raise AssertionError("the disk is not as small as it should be")


async def test_a_full_disk_stops_no_play_and_is_said_and_snapshots_go_on_when_there_is_room(tmp_path: Path) -> None:
    shape = replace(SHAPE, workers=1)
    cluster = OnSmallDisk(tmp_path, shape)
    async with Trial(tmp_path, shape, BOTS, cluster=cluster, say=print) as trial:
        await trimmed_on(cluster)
        fill(cluster.seen_by_worker("filler"))
        await plays_on_untrimmed(cluster)
        cluster.seen_by_worker("filler").unlink()
        await trimmed_on(cluster)
        assert_no_stack_trace(cluster)
        await trial.leave()
        await trial.finish()
    assert_sound(trial.findings())
    failed = events(cluster.workers[0], "snapshot_failed")
    assert sorted(line["shard"] for line in failed) == list(range(SHARDS))
    assert all("No space left" in line["reason"] for line in failed)
    assert len(events(cluster.workers[0], "snapshots_work_again")) == SHARDS
