"""Redis stalls, refuses, is full, forgets everything or is replaced, with real servers, processes and players."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.cluster import Cluster, Shape
from loadtest.compare import compare, endings
from loadtest.failovers import goes_on, play, splits
from loadtest.inputs import acked_inputs
from loadtest.journal import replay
from loadtest.machine import REPOSITORY
from loadtest.pauses import Fault, noticed
from loadtest.prove.redis_failover import LEASES
from loadtest.stored import Stored, newest_snapshots
from loadtest.trial import Trial
from tests.end_to_end.outcomes import (
    assert_no_stack_trace,
    assert_sound,
    events,
    heads,
    shown,
    total,
    until,
)
from tests.parts.redis import command

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]

SHARDS = 2
BOTS = 16
SHAPE = Shape(shards=f"{SHARDS}x1", audit_ticks=100, seed=5)


async def all_stalled(cluster: Cluster, before: float) -> None:
    """Every shard has come to stand still since."""
    await until(lambda: total(cluster.workers, "overworld_stalls_total") >= before + SHARDS, "every shard stands still")


async def test_stalled_refusing_and_full_redis_are_pauses_that_players_are_told_of(tmp_path: Path) -> None:
    faults: list[Fault] = []
    async with Trial(tmp_path, SHAPE, BOTS, say=print) as trial:
        cluster = trial.cluster

        async def over(name: str, began_s: float) -> None:
            await goes_on(cluster, SHARDS)
            faults.append(Fault(name, began_s, time.monotonic()))
            await trial.play(1)

        await trial.play(2)
        began_s = time.monotonic()
        cluster.redis.pause()
        await trial.play(5)
        cluster.redis.resume()
        await over("stalls for 5 s", began_s)

        began_s, stalls = time.monotonic(), total(cluster.workers, "overworld_stalls_total")
        await cluster.stop_redis()
        await all_stalled(cluster, stalls)
        await cluster.start_redis()
        await over("refuses connections", began_s)

        began_s, stalls = time.monotonic(), total(cluster.workers, "overworld_stalls_total")
        later = total(cluster.workers, "overworld_journal_retries_total", reason="later")
        assert await command(cluster.redis_port, "CONFIG", "SET", "maxmemory", "1") == b"+OK"
        await all_stalled(cluster, stalls)
        assert total(cluster.workers, "overworld_journal_retries_total", reason="later") > later
        assert await command(cluster.redis_port, "CONFIG", "SET", "maxmemory", "0") == b"+OK"
        await over("full", began_s)

        assert_no_stack_trace(cluster)
        await trial.leave()
        await trial.finish()
    assert_sound(trial.findings())
    for part in noticed(trial.histories(), faults):
        assert part.told_resumed == BOTS, f"{part.fault.name}: {part.told_resumed} of {BOTS} were told"
    # Said once an outage and shard, not at every try.
    for event in ("shard_stalled", "shard_resumed", "journal_append_failed"):
        said = sum(len(events(node, event)) for node in cluster.workers)
        assert said <= 3 * SHARDS, f"{event}: {said} times"


async def test_without_redis_no_process_starts_and_each_says_why_in_a_line(tmp_path: Path, free_port: int) -> None:
    environment = Cluster(tmp_path, SHAPE).environment() | {"OVERWORLD_REDIS_URL": f"redis://127.0.0.1:{free_port}/0"}
    for role in ("worker", "gateway"):
        argv = [sys.executable, "-m", "overworld", role]
        done = await asyncio.to_thread(
            subprocess.run,
            argv,
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert f"no Redis at redis://127.0.0.1:{free_port}" in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_failover_with_living_workers_loses_nothing_at_level_1(tmp_path: Path, seed: int) -> None:
    """Workers, too, that look at different servers for two seconds, one of them owning everything."""
    shape = replace(SHAPE, seed=seed, commit_level=1, shards="3x1", worker_env=LEASES)
    plan = splits(random.Random(seed), 3, shape, 2.0, kill=False)[seed:]
    found, parts = await play(tmp_path, shape, BOTS, plan, print)
    assert_sound(found)
    assert len(parts) == len(plan)


async def test_a_failover_with_a_dead_worker_loses_nothing_at_level_2(tmp_path: Path) -> None:
    shape = replace(SHAPE, commit_level=2, worker_env=LEASES)
    plan = splits(random.Random(3), 1, shape, 2.0, kill=True)
    found, parts = await play(tmp_path, shape, BOTS, plan, print)
    assert_sound(found)
    assert sum(part.untold for part in parts) == 0


async def test_a_wiped_redis_costs_living_owners_and_their_players_nothing(tmp_path: Path) -> None:
    """The owner saves its whole state under the next epoch and begins a new journal there."""
    # No snapshot but the rebase's own: the test replays from that.
    shape = replace(SHAPE, worker_env={"OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "600"})
    async with Trial(tmp_path, shape, BOTS, say=print) as trial:
        cluster = trial.cluster
        await trial.play(3)
        assert await command(cluster.redis_port, "FLUSHALL", "SYNC") == b"+OK"
        await until(lambda: total(cluster.workers, "overworld_rebases_total") == SHARDS, "every journal begins anew")
        await goes_on(cluster, SHARDS)
        based = {found.shard: found for found in await newest_snapshots(cluster, trial.contract)}
        await trial.play(2)
        assert [head["epoch"] for head in await heads(cluster, SHARDS)] == [2] * SHARDS
        assert_no_stack_trace(cluster)
        await trial.leave()
        await trial.finish()
    for name in ("journal_lost", "journal_begun_anew"):
        assert sum(len(events(node, name)) for node in cluster.workers) == SHARDS
    require_rebased(trial, based)


def require_rebased(trial: Trial, based: dict[int, Stored]) -> None:
    """Ticks went on without a gap, and what was seen after is the replay from the new beginning."""
    histories = trial.histories()
    seen = shown(histories)
    truths = {}
    last_seqs: dict[int, int] = {}
    for shard in range(SHARDS):
        before, after = seen[shard][1], seen[shard][2]
        assert min(after) == max(before) + 1, f"shard {shard}: {max(before)} was shown, then {min(after)}"
        lineage = trial.lineage(shard)
        # The journal begins where the snapshot stands; what led there was wiped.
        assert all("no record of tick" in fault for fault in lineage.faults)
        replayed = replay(trial.contract, trial.title, lineage, start=based[shard].data)
        assert replayed.faults == []
        assert replayed.digests_compared > 0
        truths[shard] = replayed.truth
        last_seqs |= replayed.last_seqs
    compared = compare(histories, truths)
    assert compared.mismatches == 0, compared.examples
    assert compared.comparisons > BOTS
    for session, acked in acked_inputs(histories).items():
        assert last_seqs.get(session, acked) >= acked
    assert not endings(histories)


async def test_a_redis_wiped_while_no_owner_lives_costs_what_came_after_the_snapshot_and_that_is_said(
    tmp_path: Path,
) -> None:
    shape = replace(SHAPE, worker_env={"OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "2"})
    async with Trial(tmp_path, shape, BOTS, say=print) as trial:
        cluster = trial.cluster
        await until(lambda: total(cluster.workers, "overworld_snapshot_saved_total") >= 2 * SHARDS, "snapshots")
        for worker in cluster.workers:
            worker.process.kill()
        assert await command(cluster.redis_port, "FLUSHALL", "SYNC") == b"+OK"
        based = {found.shard: found for found in await newest_snapshots(cluster, trial.contract)}
        await cluster.start()
        await goes_on(cluster, SHARDS)
        await trial.play(3)
        assert_no_stack_trace(cluster)
        lost = [line for node in cluster.workers for line in events(node, "ticks_lost")]
        assert total(cluster.workers, "overworld_journals_lost_total") == SHARDS
        await trial.leave()
        await trial.finish()
    histories = trial.histories()
    seen = shown(histories)
    truths = {}
    assert sorted(line["shard"] for line in lost) == list(range(SHARDS))
    for line in lost:
        shard = line["shard"]
        assert line["continues_at_tick"] == based[shard].tick
        # Records from before the wipe may have been seen too: they lead to the snapshot.
        newest = trial.lineage(shard).records[-1].epoch
        begun = [record.tick for record in trial.lineage(shard).records if record.epoch == newest]
        assert begun[0] == based[shard].tick + 1
        # What is said is at least what was lost: the wall clock runs on while nobody ticks.
        ticks_lost = max(0, max(seen[shard][1]) - based[shard].tick)
        assert line["lost_s_max"] >= ticks_lost / trial.contract.grid.tick_hz - 0.1
        truths[shard] = replay(trial.contract, trial.title, trial.lineage(shard), start=based[shard].data).truth
    compared = compare(histories, truths)
    assert compared.mismatches == 0, compared.examples
    assert compared.comparisons > BOTS
    assert not endings(histories)
