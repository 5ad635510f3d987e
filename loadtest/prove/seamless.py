"""[seamless] Players who cross shard borders all the time, while workers die, drain and come, and shards move.

Four workers and 16 shards; bots fly straight across the world and turn round at its ends. Meanwhile a shard migrates, a
worker is killed, one is added, one drains. Required: no bot is closed; after every committed tick of any shard, every
entity is in exactly one shard or on its way to one, by the replay of all journals; there are as many avatars as players
all the time; every bot's picture is what the owners held; every input was applied once, in order, whichever shard its
player was in. Printed: for how many pictures a crossing entity was missing from views that held both cells beside the
border.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.cluster import Node, Shape
from loadtest.crossings import Blink, blinks
from loadtest.figures import percentiles
from loadtest.findings import Findings
from loadtest.moving import Mover
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.takeovers import Loss, owners, until_taken_over
from loadtest.trial import Trial

TITLE = "loadtest.travel:Travel"
STOP_S = 60.0
REFUSALS_MAX = 10
AFTER_S = 3.0
"""For so long after a fault is over, what is seen is told apart from quiet times."""
COUNT_AFTER_S = 1.0
"""Players who have just come or are about to go are not counted."""


@dataclass(frozen=True)
class Options:
    """`seconds` are shared out among the events."""

    bots: int = 400
    seconds: float = 60.0
    shards: str = "4x4"
    workers: int = 4
    gateways: int = 2
    seed: int = 1


@dataclass
class Events:
    """What was done. Spans are (from, to) of the monotonic clock; `counted_s` of the wall clock."""

    spans: list[tuple[str, float, float]] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    refused: int = 0
    """Migrations that had to be asked for again."""
    counted_s: tuple[float, float] = (0.0, 0.0)
    """From when all bots played to when the first was to leave."""

    def disturbed(self, at_s: float) -> bool:
        """Whether something was being done to the cluster, or had just been."""
        return any(began - 0.1 <= at_s <= over + AFTER_S for _, began, over in self.spans)


def run(proof: Proof, options: Options) -> None:
    """Play, then check."""
    with tempfile.TemporaryDirectory(prefix="overworld-seamless-") as folder:
        trial, events = asyncio.run(play(proof, options, Path(folder)))
        check(proof, options, trial, events)


async def play(proof: Proof, options: Options, folder: Path) -> tuple[Trial, Events]:
    """One cluster; one thing after the other happens to it."""
    shape = Shape(
        workers=options.workers, gateways=options.gateways, title=TITLE, shards=options.shards, seed=options.seed,
        audit_ticks=100,
    )  # fmt: skip
    events = Events()
    async with Trial(folder, shape, options.bots, light=True, say=proof.say) as trial:
        deeds = Deeds(proof, trial, events)
        began_s, joined_s = time.monotonic(), time.time()
        plan = (deeds.migrate, deeds.kill, deeds.add, deeds.migrate, deeds.drain)
        for number, deed in enumerate(plan):
            due_s = began_s + options.seconds * (number + 0.5) / (len(plan) + 0.5)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await deeds.note(deed)
        await trial.play(max(1.0, began_s + options.seconds - time.monotonic()))
        events.counted_s = joined_s + COUNT_AFTER_S, time.time() - COUNT_AFTER_S
        await trial.leave()
        await trial.finish()
    return trial, events


class Deeds:
    """What is done to a cluster while bots play."""

    def __init__(self, proof: Proof, trial: Trial, events: Events) -> None:
        self._proof = proof
        self._trial = trial
        self._cluster = trial.cluster
        self._events = events
        self._mover = Mover(self._cluster, trial.contract.play_fingerprint)

    async def note(self, deed: Callable[[], Coroutine[Any, Any, str]]) -> None:
        """Do it, say it, remember when it was."""
        began_s = time.monotonic()
        what = await deed()
        self._events.spans.append((what, began_s, time.monotonic()))
        self._proof.say(f"{what}: {time.monotonic() - began_s:.2f} s; {self._trial.playing} bots play")

    async def kill(self) -> str:
        """kill -9 of a worker that has shards. It stays dead."""
        victim = owners(self._cluster)[0]
        loss = Loss(victim.name, victim.shards(), time.monotonic())
        victim.process.kill()
        self._events.losses.append(loss)
        await until_taken_over(self._cluster, loss)
        return f"{victim.name} killed, its shards {sorted(loss.shards)} taken over"

    async def add(self) -> str:
        """One more worker."""
        node = await self._cluster.add_worker()
        return f"{node.name} added"

    async def drain(self) -> str:
        """SIGTERM of a worker that has shards: it gives them away and ends with 0."""
        victim = owners(self._cluster)[0]
        shards = sorted(victim.shards())
        code = await victim.process.stop(STOP_S)
        self._proof.require(code == 0, f"{victim.name} drained and ended with {code}")
        return f"{victim.name} drained of {shards}"

    async def migrate(self) -> str:
        """A shard moves to the worker that has the fewest."""
        shards = {node.name: len(node.shards()) for node in self._alive()}
        fewest = min(self._alive(), key=lambda node: (shards[node.name], node.name))
        giver = max(owners(self._cluster), key=lambda node: (shards[node.name], node.name))
        shard = max(giver.shards())
        ended = await self._mover.move(shard, fewest)
        while ended.result == "refused" and self._events.refused < REFUSALS_MAX:
            # Nothing was touched; on a machine that is too busy a tick may not be committed in time.
            self._events.refused += 1
            ended = await self._mover.move(shard, fewest)
        # Where the balancer was faster, it is there already.
        moved = ended.result == "moved" or shard in fewest.shards()
        self._proof.require(moved, f"shard {shard} to {fewest.name}: {ended.result} {ended.reason}")
        pause_ms = ended.pause_us / 1000
        return f"shard {shard} moved from {giver.name} to {fewest.name}, with a pause of {pause_ms:.0f} ms"

    def _alive(self) -> list[Node]:
        return [node for node in self._cluster.workers if node.process.alive]


def check(proof: Proof, options: Options, trial: Trial, events: Events, *, hops_min: int = 1) -> None:
    """Everything that must hold."""
    found = trial.findings()
    require_sound(proof, found)
    proof.require(found.lost_sockets == 0, f"{found.lost_sockets} sockets were lost")
    require_conserved(proof, options.bots, found, events.counted_s)
    proof.require(len(found.account.hops) >= hops_min, f"only {len(found.account.hops)} entities crossed a border")
    truths = {shard: replayed.truth for shard, replayed in trial.replays.items()}
    seen = blinks(trial.histories(), found.account.hops, truths)
    proof.require(bool(seen), "nobody saw an entity cross a border")
    tell_blinks(proof, seen, events)
    proof.figure("hop_ms", percentiles([float(hop.ms) for hop in found.account.hops], 50, 99))
    proof.figure("pause_of_killed_s", percentiles(trial.pauses(events.losses).each_s, 50, 99))
    epochs = [{record.epoch for record in trial.lineage(shard).records} for shard in range(found.shards)]
    proof.figure("changes_of_owner", sum(map(len, epochs)) - len(epochs))
    proof.figure("migrations_refused", events.refused)
    proof.figure("events", [what for what, _, _ in events.spans])


def require_conserved(proof: Proof, bots: int, found: Findings, counted_s: tuple[float, float]) -> None:
    """As many avatars as players at every moment, and nobody born or gone in between."""
    account = found.account
    low, high = account.avatars_between(*counted_s)
    proof.figure("world_counted", account.ticks)
    proof.figure("avatars_fewest_most", [low, high])
    proof.figure("messages_between_shards", account.letters)
    proof.require((low, high) == (bots, bots), f"{low} to {high} avatars in the world, of {bots} players")
    # Who says bye between two shards is lost, not gone: the avatar waits for the grace time.
    proof.figure("avatars_left_waiting", account.avatars_last)
    proof.require(account.in_transit == 0, f"{account.in_transit} messages never arrived")


def tell_blinks(proof: Proof, seen: Sequence[Blink], events: Events) -> None:
    """Figures of what crossing looked like."""
    parts = {
        "": seen,
        "_own": [blink for blink in seen if blink.own],
        "_quiet": [blink for blink in seen if not events.disturbed(blink.at_s)],
    }
    for name, blinks_of in parts.items():
        proof.figure(f"crossings_seen{name}", len(blinks_of))
        proof.figure(f"missing_ticks{name}", percentiles([float(blink.ticks) for blink in blinks_of], 50, 90, 99))
        proof.figure(f"missing_ms{name}", percentiles([blink.ms for blink in blinks_of], 50, 90, 99))
