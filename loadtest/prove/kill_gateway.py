"""[kill-gateway] `kill -9` of a gateway: its players take their sessions up on the other one.

Every bot that lost its socket plays the same session again, with the same avatar, score and place; what it had sent and
not seen acknowledged is sent again and applied exactly once.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.avatars import first_avatars, last_avatars
from loadtest.cluster import Shape
from loadtest.figures import percentiles
from loadtest.history import BotHistory, Event
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.trial import Trial
from overworld.client.mirror import LightMirror


@dataclass(frozen=True)
class Options:
    """How many bots over both gateways, and how many kills."""

    bots: int = 200
    kills: int = 4
    rest_s: float = 6.0
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Kill, then check."""
    with tempfile.TemporaryDirectory(prefix="overworld-gateway-") as folder:
        asyncio.run(play(proof, options, Path(folder)))


async def play(proof: Proof, options: Options, folder: Path) -> None:
    """One cluster, gateways killed by turns."""
    chance = random.Random(options.seed)
    shape = Shape(shards=options.shards, seed=options.seed, audit_ticks=100)
    async with Trial(folder, shape, options.bots, say=proof.say) as trial:
        for number in range(options.kills):
            await asyncio.sleep(chance.uniform(2.0, options.rest_s))
            victim = trial.cluster.gateways[number % len(trial.cluster.gateways)]
            victim.process.kill()
            killed_s = time.monotonic()
            await trial.all_play()
            proof.say(f"kill {number + 1}: {victim.name}; all play again after {time.monotonic() - killed_s:.2f} s")
            await trial.cluster.start_node(victim)
        await trial.play(options.rest_s)
        await trial.leave()
        await trial.finish()
    found, resumes = trial.findings(), resumptions(trial.histories())
    require_sound(proof, found)
    proof.figure("kills", options.kills)
    proof.figure("sockets_lost", found.lost_sockets)
    proof.figure("resumed", len(resumes.lost_s))
    proof.figure("resume_s", percentiles(resumes.lost_s, 50, 99))
    proof.require(len(resumes.lost_s) > 0, "no bot was on a gateway that was killed")
    proof.require(resumes.other_session == 0, f"{resumes.other_session} bots came back to another session")
    first, last = first_avatars(trial.histories()), last_avatars(trial.histories())
    proof.require(first == last, f"{sum(first[b] != last.get(b) for b in first)} bots ended with another avatar")


@dataclass
class Resumptions:
    """What lost sockets came to. `lost_s`: from the loss to the first tick seen again."""

    lost_s: list[float] = field(default_factory=list)
    other_session: int = 0


def resumptions(histories: Iterable[BotHistory]) -> Resumptions:
    """Read every bot's losses."""
    found = Resumptions()
    for history in histories:
        light = LightMirror()
        session, lost_us = 0, 0
        for entry in history.entries:
            if entry.event is Event.LOST:
                # A bot that fails to connect at first loses its socket once all the same.
                lost_us = lost_us or entry.time_us
            elif entry.event is Event.FRAME:
                frame = light.parse(entry.body)
                for welcome in frame.welcomes:
                    found.other_session += session not in (0, welcome.session)
                    session = welcome.session
                if lost_us and frame.heads:
                    found.lost_s.append((entry.time_us - lost_us) / 1e6)
                    lost_us = 0
    return found
