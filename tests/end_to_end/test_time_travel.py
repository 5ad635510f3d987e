"""Time travel with real processes: killed while they archive, brought back under players."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from loadtest.cluster import Shape
from loadtest.prove import replay as replay_proof
from loadtest.prove.proof import Proof
from loadtest.time_travel import ARCHIVING, Ran, overworld
from loadtest.trial import Trial

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORKERS = {
    "OVERWORLD_WORKER_ARCHIVE_INTERVAL_S": "0.3",
    "OVERWORLD_WORKER_ARCHIVE_STATE_INTERVAL_S": "2",
    "OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "0.5",
}
KILLS = 4


def shape_of(blob: Literal["directory", "azurite"], shards: str = "2x1") -> Shape:
    return Shape(shards=shards, blob=blob, env=ARCHIVING, worker_env=WORKERS)


async def replayed(trial: Trial, shard: int, *more: str) -> Ran:
    """A shard's whole past, from its first tick."""
    told = await overworld(trial.cluster, "archive", *(["--archived"] if "--archived" in more else []))
    (current,) = [line for line in told.lines if line.startswith(f"shard {shard}  branch") and line.endswith("current")]
    last = current.split("ticks 1 to ")[1].split()[0]
    return await overworld(
        trial.cluster, "replay", "--shard", str(shard), "--from", "1", "--to", last, "--digests", "0", *more
    )  # fmt: skip


@pytest.mark.parametrize("blob", ["directory", "azurite"])
def test_a_worker_killed_while_it_archives_leaves_no_gap(blob: Literal["directory", "azurite"], tmp_path: Path) -> None:
    asyncio.run(_kill_while_archiving(blob, tmp_path))


async def _kill_while_archiving(blob: Literal["directory", "azurite"], folder: Path) -> None:
    async with Trial(folder, shape_of(blob), 10, crowds=1, say=print) as trial:
        for kill in range(KILLS):
            # Not a whole number of intervals: the kill is to hit any moment of one.
            await asyncio.sleep(0.7 + 0.13 * kill)
            worker = trial.cluster.workers[kill % 2]
            worker.process.kill()
            await trial.cluster.start_node(worker)
            await trial.all_play()
        await asyncio.sleep(1)
        for shard in range(2):
            for more in ([], ["--archived"]):
                ran = await replayed(trial, shard, *more)
                assert ran.code == 0, ran.told
                assert ran.shown[-1]["ticks"] == ran.shown[-1]["to"] > 50
                assert ran.shown[-1]["digests_checked"] > 0
        await trial.leave()


def test_players_go_on_in_a_world_that_was_brought_back_under_them(tmp_path: Path) -> None:
    asyncio.run(_bring_back(tmp_path))


async def _bring_back(folder: Path) -> None:
    async with Trial(folder, shape_of("directory"), 12, crowds=1, say=print) as trial:
        await trial.play(3)
        cluster = trial.cluster
        refused = await overworld(cluster, "restore", "--at", "40")
        assert refused.code == 2
        assert [line.split(" is run by ")[0] for line in refused.lines[:2]] == ["shard 0", "shard 1"]
        for worker in cluster.workers:
            assert await worker.process.stop() == 0
        done = await overworld(cluster, "restore", "--at", "40")
        assert done.code == 0, done.told
        assert [line for line in done.lines if ": restored at tick 40 under epoch" in line] == done.lines[2:4]
        for worker in cluster.workers:
            await cluster.start_node(worker)
        await trial.play(3)
        await trial.all_play()
        for shard in range(2):
            ran = await replayed(trial, shard)
            assert ran.code == 0, ran.told
        await trial.leave()
        statistics = trial.crowds[0].report
        assert statistics["stopped"] == {}, "nobody was closed for good"
        told = await overworld(cluster, "archive")
        given_up = [line for line in told.lines if "left the current branch after tick 40" in line]
        assert len(given_up) == 2
        for shard, line in enumerate(given_up):
            branch, last = line.split("branch ")[1].split()[0], line.split("ticks 1 to ")[1].split()[0]
            ran = await overworld(
                cluster, "replay", "--shard", str(shard), "--branch", branch, "--from", "1", "--to", last
            )  # fmt: skip
            assert ran.code == 0, ran.told


def test_the_replay_proof_small(tmp_path: Path) -> None:
    proof = Proof("replay")
    options = replay_proof.Options(bots=20, seconds=4, shards="2x1")
    asyncio.run(replay_proof.play_and_replay(proof, options, tmp_path))
    assert proof.broken == []


def test_errors_are_told_in_a_line(tmp_path: Path) -> None:
    asyncio.run(_errors(tmp_path))


async def _errors(folder: Path) -> None:
    async with Trial(folder, shape_of("directory", "1x1"), 2, crowds=1, say=print) as trial:
        for arguments, said in (
            (["replay"], "say which ticks or times: --from and --to, or --dump"),
            (["replay", "--from", "yesterday", "--to", "2"], "'yesterday' is neither a tick nor a time like"),
            (["replay", "--from", "1", "--to", "999999"], "shard 0: no branch has tick 999999; "),
            (["replay", "--shard", "7", "--dump", "3"], "--shard: there is no shard 7; the world has 1, from 0"),
            (["replay", "--world", "another", "--dump", "3"], "shard 0: nothing of it is kept"),
            (["replay", "--branch", "zz", "--dump", "3"], "shard 0: 0 branches are called 'zz'"),
            (["replay", "--data", str(folder / "nothing"), "--dump", "3"], "no world was ever played there"),
            (["restore", "--at", "2999-01-01"], "--at: 2999-01-01T00:00:00.000Z has not come yet"),
        ):
            ran = await overworld(trial.cluster, *arguments)
            assert ran.code == 2, arguments
            assert said in ran.told, arguments
            assert ran.told.count("\n") == 1, f"one line: {ran.told}"
        ran = await overworld(trial.cluster, "replay", "--dump", "3", env={"OVERWORLD_SEED": "77"})
        assert ran.code == 2
        assert "is of another world contract: check OVERWORLD_SHARDS and OVERWORLD_SEED" in ran.told
        await trial.leave()
