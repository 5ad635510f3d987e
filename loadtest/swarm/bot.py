"""One bot of the swarm: a client that comes and goes as its behaviour says, sends inputs when they are due, and looks
whether what comes back is right.

Inputs are due by the clock, not after the answer to the one before: a server that stands still is asked on, and the
wait counts from when the input was due (coordinated omission, Tene 2012).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from loadtest.swarm import pictures
from loadtest.swarm.behaviours import BEHAVIOURS, Behaviour, Command, Exit
from loadtest.swarm.effects import Oracle, oracle_of
from loadtest.swarm.findings import (
    ACK_WRONG,
    INPUT_DROPPED,
    INPUT_LOST,
    OUT_OF_ORDER,
    RULE_BROKEN,
    SEEN_TWICE,
    Findings,
)
from overworld.client.closes import CLOSE_CODES_FROM, Next, Verdict
from overworld.client.connection import Client, ClientOptions, TokenSource
from overworld.client.contract import ClientContract
from overworld.client.mirror import Mirror
from overworld.client.statistics import Statistics
from overworld.errors import WireError

LOST_S = 10.0
"""An input that is not acknowledged for so long, while its bot plays, is lost."""
PATIENCE_TICKS = 8
"""So many ticks after its acknowledgement an effect must be seen."""
TWICE_S = 1.5
"""For so long an entity may stand in two shards for those who look on: on its way its frames may come in any order."""
LOOK_S = 0.25


@dataclass(frozen=True)
class Part:
    """What a bot is."""

    number: int
    behaviour: str
    sampled: bool
    input_interval_s: float
    check_interval_s: float
    seed: int


@dataclass(frozen=True)
class _Sent:
    seq: int
    due: float
    command: Command


class LoadBot:
    """See the module. Also the client's witness."""

    def __init__(
        self,
        part: Part,
        urls: tuple[str, ...],
        token: TokenSource,
        title: str,
        statistics: Statistics,
        findings: Findings,
        server: pictures.Server | None,
    ) -> None:
        self.part = part
        self.client: Client | None = None
        self.played = False
        self.stopped = ""
        """Why it gave up; empty while it did not."""
        turn = part.number % len(urls)
        self._urls = urls[turn:] + urls[:turn]
        self._token, self._title = token, title
        self._statistics, self._findings, self._server = statistics, findings, server
        self._chance = random.Random(f"{part.seed}:{part.number}")
        self._kind = BEHAVIOURS[part.behaviour]
        self._options = ClientOptions(light=not (part.sampled or self._kind.sees))
        self._loop = asyncio.get_running_loop()
        self._behaviour: Behaviour | None = None
        self._contract: ClientContract | None = None
        self._oracle: Oracle | None = None
        self._held: Command | None = None
        self._sent: deque[_Sent] = deque()
        self._acked: tuple[_Sent, int, int] | None = None
        """The newest acknowledged input whose effect is not seen yet, and (shard, tick) of its ack."""
        self._notes: list[pictures.Note] = []
        self._highest: dict[int, tuple[int, int]] = {}
        self._twice: dict[tuple[int, int], float] = {}
        self._began = 0.0
        self._leaving = False
        self._resting = False
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def playing(self) -> bool:
        """Whether it plays now."""
        return self.client is not None and self.client.playing

    @property
    def name(self) -> str:
        """For people."""
        return f"bot {self.part.number}"

    # ------------------------------------------------------------ coming and going

    async def run(self, until: asyncio.Event) -> None:
        """Visit after visit, until the event."""
        if self.part.sampled and self._server is not None:
            self._start(self._check_always(self._server))
        while not until.is_set() and not self.stopped:
            visit = self._kind.visit(self._chance)
            if self.client is None:
                await self._come()
            await self._wait(until, visit.play_s if visit is not None else None)
            if until.is_set() or visit is None:
                break
            if self.client is not None and visit.exit is Exit.DROP:
                self._begin_wait()
                self.client.cut()
            else:
                await self._go()
            await self._wait(until, visit.away_s)

    async def stop(self) -> None:
        """Leave for good."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._go()

    def rest(self) -> None:
        """Send no more inputs."""
        self._resting = True

    async def _come(self) -> None:
        self.client = Client(
            self._urls, self._token, self._title, options=replace(self._options),
            statistics=self._statistics, chance=self._chance, witness=self,
        )  # fmt: skip
        self._highest.clear()
        self._sent.clear()
        self._acked = self._behaviour = None
        self._begin_wait()
        self._due = self._loop.time() + self._chance.random() * self.part.input_interval_s
        await self.client.start()
        self._think()

    async def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        client, self.client = self.client, None
        self._notes.clear()
        if client is not None:
            self._leaving = True
            await client.stop()
            self._leaving = False

    def _begin_wait(self) -> None:
        self._began = time.monotonic()
        if self.client is not None:
            self.client.on_frame = self._framed

    async def _wait(self, until: asyncio.Event, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await until.wait()

    # ------------------------------------------------------------ inputs

    def _think(self) -> None:
        client, now = self.client, self._loop.time()
        if client is None:
            return
        if client.playing and not self._resting:
            self._findings.late.record(now - self._due)
            self._act(client)
        interval_s = self.part.input_interval_s
        self._due += interval_s * self._chance.uniform(2 / 3, 4 / 3) if client.playing else LOOK_S
        # Who is a whole second behind was away: what was due then is lost time, not load.
        self._due = max(self._due, now - 1.0)
        self._timer = self._loop.call_at(max(self._due, now), self._think)

    def _act(self, client: Client) -> None:
        contract = client.session.mirror.contract
        assert contract is not None
        if self._behaviour is None or self._contract is not contract:
            if self._contract is None or self._contract.fingerprint != contract.fingerprint or self._behaviour is None:
                self._behaviour = self._kind(contract, self._chance)
                self._oracle = oracle_of(contract)
            self._contract, self._held = contract, None
        command = self._behaviour.decide(client.session.mirror)
        if command is not None and command != self._held:
            seq = client.submit(command[0], list(command[1]))
            if seq is not None:
                self._held = command
                self._sent.append(_Sent(seq, time.monotonic() - (self._loop.time() - self._due), command))
        self._look_for_lost(client)

    def _look_for_lost(self, client: Client) -> None:
        acked = client.session.mirror.acked
        while self._sent and self._sent[0].seq <= acked and not self.part.sampled:
            self._sent.popleft()
        now = time.monotonic()
        if self._sent and self._sent[0].seq > acked and now - max(self._sent[0].due, self._began) > LOST_S:
            lost = self._sent.popleft()
            text = f"{self.name}: input {lost.seq} of {now - lost.due:.0f} s ago is not acknowledged ({acked} is)"
            self._findings.fault(INPUT_LOST, text)

    # ------------------------------------------------------------ frames

    def _framed(self, client: Client) -> None:
        """After every frame until the Welcome came, and on for those who look closely."""
        if client.playing:
            self._findings.connect.record(time.monotonic() - self._began)
            self._began, self.played = time.monotonic(), True
            client.on_frame = self._watch if self.part.sampled else None

    def _watch(self, client: Client) -> None:
        mirror = client.mirror
        for shard, at in mirror.ticks.items():
            if at < self._highest.get(shard, (0, 0)):
                text = f"{self.name}: shard {shard} at {at} after {self._highest[shard]}"
                self._findings.fault(OUT_OF_ORDER, text)
            self._highest[shard] = at
        if self._notes:
            self._notes = [note for note in self._notes if not note.look(mirror)]
        self._watch_effects(mirror)

    def _watch_effects(self, mirror: Mirror) -> None:
        while self._sent and self._sent[0].seq <= mirror.acked:
            if self._acked is not None:
                self._findings.effects_unclear += 1
            sent = self._sent.popleft()
            shard, tick = mirror.acked_at or (-1, 0)
            self._acked = (sent, shard, tick)
        if self._acked is None or self._oracle is None or self._contract is None:
            return
        sent, shard, tick = self._acked
        kind = self._contract.inputs[sent.command[0]]
        fields = {name: value for (name, _, _), value in zip(kind.fields, sent.command[1], strict=True)}
        seen = self._oracle(mirror, kind.name, fields)
        if seen:
            self._findings.effects += 1
            self._findings.effect.record(time.monotonic() - sent.due)
            self._acked = None
        elif seen is None or shard not in mirror.ticks:
            self._findings.effects_unclear += 1
            self._acked = None
        elif mirror.ticks[shard][1] - tick > PATIENCE_TICKS:
            text = f"{self.name}: input {sent.seq} {kind.name} {fields} is acknowledged at tick {tick} of shard {shard}"
            self._findings.fault(INPUT_DROPPED, f"{text} and does not show")
            self._acked = None

    # ------------------------------------------------------------ checks

    async def _check_always(self, server: pictures.Server) -> None:
        interval_s = self.part.check_interval_s
        await asyncio.sleep(self._chance.random() * interval_s)
        while True:
            if self.client is not None and self.client.playing:
                mirror = self.client.mirror
                self._look_for_twice(mirror)
                note = pictures.question(mirror, self._chance)
                if note is not None:
                    self._notes.append(note)
                    self._start(pictures.check(self.name, note, server, mirror, self._findings))
            await asyncio.sleep(interval_s * self._chance.uniform(0.75, 1.25))

    def _look_for_twice(self, mirror: Mirror) -> None:
        contract = mirror.contract
        if contract is None:
            return
        self._findings.scans += 1
        places: dict[tuple[int, int], list[int]] = {}
        for cell in mirror.cells:
            for kind in range(len(contract.kinds)):
                for entity in mirror.rows(cell, kind)[0].tolist():
                    places.setdefault((kind, entity), []).append(cell)
        now, still = time.monotonic(), {}
        for key, cells in places.items():
            if len(cells) == 1:
                continue
            one_shard = len({contract.shard_of(cell) for cell in cells}) < len(cells)
            since = still[key] = self._twice.get(key, now)
            if one_shard or now - since > TWICE_S:
                kind, entity = key
                text = f"{self.name}: {contract.kinds[kind].name} {entity} stands in cells {sorted(cells)}"
                self._findings.fault(SEEN_TWICE, text)
        self._twice = still

    def _start(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ the client's witness

    def connecting(self, url: str) -> None:
        """Nothing to note."""

    def received(self, data: bytes) -> None:
        """Nothing to note."""

    def sent(self, data: bytes) -> None:
        """Nothing to note."""

    def broke(self, error: WireError) -> None:
        """A frame broke a rule."""
        what = ACK_WRONG if "acknowledged" in str(error) else RULE_BROKEN
        self._findings.fault(what, f"{self.name}: {error}")

    def gone(self, verdict: Verdict) -> None:
        """The socket is gone."""
        if self._leaving or verdict.reason == "cut by its player":
            return
        kind = "closed" if verdict.code >= CLOSE_CODES_FROM else "not connected"
        self._findings.errors[f"{kind} {verdict.code} {verdict.reason}"[:100]] += 1
        self._begin_wait()
        if verdict.next is Next.STOP:
            self.stopped = f"{verdict.code} {verdict.reason}"[:100]
