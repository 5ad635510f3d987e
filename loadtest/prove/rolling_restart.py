"""[rolling-restart] Every worker, then every gateway, is replaced by a new process while everybody plays.

SIGTERM, wait for the process to end with 0, start a new one: the workers one by one; once more, by workers of the next
version of the title, which has other rules; then the gateways. Required: no socket is closed while the workers are
replaced; every player keeps the avatar and the session; as many avatars as players are in the world at every committed
tick; pictures and inputs are right, as always.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.avatars import first_avatars, last_avatars
from loadtest.cluster import Node, Shape
from loadtest.figures import percentiles
from loadtest.history import BotHistory, Event
from loadtest.prove.kill_gateway import resumptions
from loadtest.prove.proof import Proof
from loadtest.prove.seamless import COUNT_AFTER_S, STOP_S, TITLE, require_conserved
from loadtest.prove.soundness import require_sound
from loadtest.trial import Trial
from loadtest.worlds import world_of

NEXT_TITLE = "loadtest.travel:TravelOn"


@dataclass(frozen=True)
class Options:
    """`rest_s`: play between two restarts. `upgrade`: the second round of workers, and the gateways, are of the next
    version of the title.
    """

    bots: int = 400
    workers: int = 4
    gateways: int = 2
    rest_s: float = 2.0
    shards: str = "4x4"
    seed: int = 1
    upgrade: bool = True


@dataclass
class Times:
    """When what was done. `workers_s`: of the monotonic clock; `counted_s`: of the wall clock."""

    workers_s: tuple[float, float] = (0.0, 0.0)
    counted_s: tuple[float, float] = (0.0, 0.0)


def run(proof: Proof, options: Options) -> None:
    """Restart, then check."""
    with tempfile.TemporaryDirectory(prefix="overworld-rolling-") as folder:
        trial, times = asyncio.run(play(proof, options, Path(folder)))
        check(proof, options, trial, times)


async def play(proof: Proof, options: Options, folder: Path) -> tuple[Trial, Times]:
    """One cluster, each of its processes once."""
    shape = Shape(
        workers=options.workers, gateways=options.gateways, title=TITLE, shards=options.shards, seed=options.seed,
        audit_ticks=100,
    )  # fmt: skip
    times = Times()
    async with Trial(folder, shape, options.bots, light=True, say=proof.say) as trial:
        await trial.play(options.rest_s)
        began_s, joined_s = time.monotonic(), time.time()
        for node in list(trial.cluster.workers):
            await exchange(proof, trial, node, options.rest_s)
        if options.upgrade:
            trial.later["2"] = world_of(replace(shape, title=NEXT_TITLE))
            for node in trial.cluster.nodes:
                node.process.env["OVERWORLD_TITLE"] = NEXT_TITLE
            for node in list(trial.cluster.workers):
                await exchange(proof, trial, node, options.rest_s)
        times.workers_s = began_s, time.monotonic()
        for node in trial.cluster.gateways:
            await exchange(proof, trial, node, options.rest_s)
            await trial.all_play()
        await trial.play(options.rest_s)
        times.counted_s = joined_s + COUNT_AFTER_S, time.time() - COUNT_AFTER_S
        await trial.leave()
        await trial.finish()
    return trial, times


async def exchange(proof: Proof, trial: Trial, node: Node, rest_s: float) -> None:
    """Stop a process in order and start a new one."""
    began_s, shards = time.monotonic(), sorted(node.shards())
    code = await node.process.stop(STOP_S)
    stopped_s = time.monotonic()
    proof.require(code == 0, f"{node.name} ended with {code}: {node.process.log_tail(3)}")
    await trial.cluster.start_node(node)
    proof.say(
        f"{node.name} {f'with shards {shards} ' if shards else ''}stopped in {stopped_s - began_s:.2f} s, a new one "
        f"ready {time.monotonic() - stopped_s:.2f} s later; {trial.playing} bots play"
    )
    await asyncio.sleep(rest_s)


def check(proof: Proof, options: Options, trial: Trial, times: Times) -> None:
    """Everything that must hold."""
    found, histories = trial.findings(), trial.histories()
    require_sound(proof, found)
    require_conserved(proof, options.bots, found, times.counted_s)
    if options.upgrade:
        versions = {r.title_version for shard in range(found.shards) for r in trial.lineage(shard).records[-1:]}
        proof.require(versions == {"2"}, f"in the end version {sorted(versions)} runs the shards, not 2 alone")
    closed = sockets_lost(histories, *times.workers_s)
    proof.figure("sockets_lost_to_workers", closed)
    proof.figure("sockets_lost_to_gateways", found.lost_sockets - closed)
    proof.require(closed == 0, f"{closed} sockets were lost while workers were replaced")
    resumed = resumptions(histories)
    proof.figure("resume_s", percentiles(resumed.lost_s, 50, 99))
    proof.require(resumed.other_session == 0, f"{resumed.other_session} bots came back to another session")
    first, last = first_avatars(histories), last_avatars(histories)
    lost = [bot for bot in range(options.bots) if bot not in first or first[bot] != last[bot]]
    proof.figure("avatars_lost", len(lost))
    proof.require(not lost, f"bots {lost[:5]} ended with another avatar, or none")


def sockets_lost(histories: Iterable[BotHistory], first_s: float, last_s: float) -> int:
    """Sockets that were lost within a time of the monotonic clock."""
    return sum(first_s <= entry.time_us / 1e6 <= last_s for h in histories for entry in h.of(Event.LOST))
