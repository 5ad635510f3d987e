"""[motion] Others are drawn where the server had them at the tick that is drawn, in both SDKs, on bad networks too.

Three ships fly in a range: straight on, in turns, and faster and slower all the time. A watcher behind a proxy keeps
what it receives and when. Afterwards its frames are drawn, 60 a second, by both SDKs from that recording, and compared
with the journal's replay: where the server had each ship at the moment that the SDK says it drew.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loadtest.cluster import HOST, Cluster, Shape
from loadtest.drawn import Recording, by_javascript, by_python, differences
from loadtest.figures import percentiles
from loadtest.journal import JournalCollector, replay
from loadtest.prove.proof import Proof
from loadtest.ranges import Parade
from loadtest.truth import ENTITY, KIND, PLACE, Truth
from overworld.client.closes import Verdict
from overworld.client.connection import Client
from overworld.client.guest import ask_guest
from overworld.client.networks import NETWORKS, Network, round_trip
from overworld.client.proxy import Proxy
from overworld.errors import WireError
from overworld.game import contract_of

FRAME_S = 1 / 60
JOIN_S = 60.0
HAND_S = 0.05
ROADS: Mapping[str, Network] = {
    **{f"rtt_{ms}_ms": round_trip(ms / 1000) for ms in (20, 80, 200)},
    # Without resets: a recording is of one socket.
    **{name: replace(NETWORKS[name], reset_every_s=0.0, half_open_every_s=0.0) for name in ("bad-wifi", "lossy")},
}
Hands = Callable[[float], dict[str, int]]


@dataclass(frozen=True)
class Options:
    """`seconds` that are drawn on each network, after `warm_s`."""

    seconds: float = 40.0
    warm_s: float = 5.0
    seed: int = 1


class Recorder:
    """A witness that keeps every message and when it came."""

    def __init__(self) -> None:
        self.recording = Recording()

    def received(self, data: bytes) -> None:
        """A message of the server's."""
        self.recording.messages.append((time.monotonic(), data))

    def connecting(self, url: str) -> None:
        """Not looked at."""

    def sent(self, data: bytes) -> None:
        """Not looked at."""

    def broke(self, error: WireError) -> None:
        """The recording would be of something else."""
        raise error

    def gone(self, verdict: Verdict) -> None:
        """Not looked at: `play` looks at what was counted."""


def run(proof: Proof, options: Options) -> None:
    """All networks, each with a cluster of its own."""
    for name, network in ROADS.items():
        with tempfile.TemporaryDirectory(prefix="overworld-motion-") as folder:
            asyncio.run(play(proof, options, name, network, Path(folder)))


async def play(proof: Proof, options: Options, name: str, network: Network, folder: Path) -> None:
    """One network: fly, record, replay, draw, compare."""
    shape = Shape(workers=1, gateways=1, title="loadtest.ranges:Parade", seed=options.seed)
    recorder = Recorder()
    async with Cluster(folder, shape) as cluster:
        gateway = cluster.gateways[0]
        async with (
            JournalCollector(cluster.redis_url, shape.world, 1) as journal,
            Proxy(HOST, gateway.port, network, options.seed) as proxy,
            AsyncExitStack() as stack,
        ):
            pilots = []
            for _ in hands_of(random.Random(options.seed)):
                guest = await ask_guest(gateway.page_url)
                pilots.append(await stack.enter_async_context(Client(gateway.play_url, guest.token, guest.title)))
            guest = await ask_guest(gateway.page_url)
            url = f"ws://{HOST}:{proxy.port}/play"
            watcher = await stack.enter_async_context(Client(url, guest.token, guest.title, witness=recorder))
            for pilot in (*pilots, watcher):
                await pilot.until(lambda client: client.mirror.own() is not None, JOIN_S)
            ships = [pilot.mirror.avatar.entity for pilot in pilots if pilot.mirror.avatar is not None]
            began = time.monotonic()
            await fly(pilots, random.Random(options.seed), options.warm_s + options.seconds)
            proof.require(watcher.statistics.connects == 1, f"the watcher lost its socket at {name}")
            await journal.finish()
            lineage = journal.lineage(0)
    recording = recorder.recording
    count = int(options.seconds / FRAME_S)
    recording.frames = [began + options.warm_s + i * FRAME_S for i in range(count)]
    title = Parade()
    replayed = await asyncio.to_thread(replay, contract_of(title, shape.world, seed=options.seed), title, lineage)
    for fault in [*lineage.faults, *replayed.faults]:
        proof.require(False, fault)
    names = dict(zip(ships, hands_of(random.Random(options.seed)), strict=True))
    compare(proof, name, recording, replayed.truth, names)


def hands_of(chance: random.Random) -> dict[str, Hands]:
    """What the three pilots' hands do, as functions of the time in seconds."""

    def turning(_: float) -> dict[str, int]:
        return {"thrust": 1, "turn": chance.choice((-1, 1, 1, 0))}

    return {
        "straight": lambda _: {"thrust": 1, "turn": 0},
        "turning": turning,
        "accelerating": lambda at: {"thrust": 1 if int(at / 0.7) % 2 else -1, "turn": 0},
    }


async def fly(pilots: list[Client], chance: random.Random, seconds: float) -> None:
    """Let the pilots steer; they say it when their hands change, as a page does."""
    began = time.monotonic()
    held: dict[int, dict[str, int]] = {}
    changes = dict.fromkeys(range(len(pilots)), 0.0)
    while (at := time.monotonic() - began) < seconds:
        for i, hands in enumerate(hands_of(chance).values()):
            if at < changes[i]:
                continue
            changes[i] = at + chance.uniform(0.3, 0.8) if i == 1 else at
            command = hands(at)
            if command != held.get(i) and pilots[i].send("Steer", **command) is not None:
                held[i] = command
        await asyncio.sleep(HAND_S)


def compare(proof: Proof, name: str, recording: Recording, truth: Truth, ships: Mapping[int, str]) -> None:
    """Figures of one network: how far each SDK drew each ship from where the server had it."""
    places = server_places(truth, frozenset(ships))
    drawn = {"python": by_python(recording, "Ship"), "javascript": by_javascript(recording, "Ship")}
    one = Parade.world.units_per_one
    for sdk, frames in drawn.items():
        errors: dict[str, list[float]] = {kind: [] for kind in ships.values()}
        for frame in frames:
            for entity, kind in ships.items():
                there = between(places[entity], frame.tick) if frame.sight is not None else None
                if there is not None and entity in frame.places:
                    x, y = frame.places[entity]
                    errors[kind].append(float(np.hypot(x - there[0], y - there[1])) / one)
        for kind, found in errors.items():
            proof.figure(f"{name}_{sdk}_{kind}_error_units", percentiles(found, 50, 99))
            share = len(found) / len(frames)
            proof.require(share > 0.95, f"{name}: {sdk} drew the {kind} ship in {share:.0%} of the frames only")
    ours = drawn["python"]
    guessed = [frame for frame in ours if frame.sight is not None and not frame.sight.span]
    proof.figure(f"{name}_frames_beyond_the_newest_share", len(guessed) / len(ours))
    proof.figure(f"{name}_drawn_late_ms", percentiles([frame.delay_ms for frame in ours], 50, 99))
    apart, worst = differences(ours, drawn["javascript"])
    proof.figure(f"{name}_sdks_apart_frames", apart)
    proof.figure(f"{name}_sdks_apart_units_max", worst / one)
    proof.require(worst / one < 1e-3, f"{name}: the SDKs draw one moment differently")


def server_places(truth: Truth, ships: frozenset[int]) -> dict[int, tuple[list[int], list[tuple[int, int]]]]:
    """(ticks ascending, places at them) of each ship: where the server had it."""
    kind = next(i for i, declared in enumerate(truth.contract.kinds) if declared.name == "Ship")
    found: dict[int, tuple[list[int], list[tuple[int, int]]]] = {ship: ([], []) for ship in ships}
    for tick in sorted(truth.ticks):
        rows = truth.ticks[tick][kind]
        for row in rows[rows[:, KIND] == kind].tolist():
            if row[ENTITY] in ships:
                ticks, places = found[row[ENTITY]]
                ticks.append(tick)
                places.append((row[PLACE][0], row[PLACE][1]))
    return found


def between(history: tuple[list[int], list[tuple[int, int]]], tick: float) -> tuple[float, float] | None:
    """Where the server had something at a moment: a tick's velocity moves it straight from the place before. None
    where the server had not been there yet, or was not any more.
    """
    ticks, places = history
    i = bisect_right(ticks, tick)
    if i == 0 or i == len(ticks):
        return None
    part = (tick - ticks[i - 1]) / (ticks[i] - ticks[i - 1])
    (ax, ay), (bx, by) = places[i - 1], places[i]
    return ax + part * (bx - ax), ay + part * (by - ay)
