"""A world of frontier and its players with a network between them, all on one virtual clock: the stage's real shards
and inboxes, the client's real sessions and mirrors, and messages that take their time but keep their order.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from overworld.client.mirror import Mirror
from overworld.client.prediction import Predictor
from overworld.client.protocol import ClientSession, SessionLimits
from overworld.client.steering import Steering
from overworld.titles.frontier.prediction import ANGLES, PREDICTED, flight_rule
from overworld.wire.v1 import client_pb2 as pb
from tests.browser.stage import Seat, Stage

TICK_S = 0.05


class Way:
    """One direction of a connection: `delay_s` to `delay_s + jitter_s`, in order."""

    def __init__(self, delay_s: float, jitter_s: float, seed: str) -> None:
        self._delay_s, self._jitter_s = delay_s, jitter_s
        self._chance = random.Random(seed)
        self._last = 0.0

    def arrival(self, now: float) -> float:
        self._last = max(self._last, now + self._delay_s + self._chance.random() * self._jitter_s)
        return self._last


@dataclass
class Player:
    """A client and its seat. `steering` is there once it was welcomed."""

    session: ClientSession
    mirror: Mirror
    up: Way
    down: Way
    world: LaggedWorld
    seat: Seat | None = None
    steering: Steering | None = None
    on_frame: list[Callable[[float], None]] = field(default_factory=list)

    async def send_bytes(self, data: bytes) -> None:
        """The stage's way out to this player."""
        self.world.at(self.down.arrival(self.world.now), lambda: self._receive(data))

    async def close(self, *, code: int, message: bytes) -> None:
        raise AssertionError(f"closed with {code} {message!r}")

    async def _receive(self, data: bytes) -> None:
        now = self.world.now
        assert self.session.received(data, now)
        contract = self.mirror.contract
        if self.steering is None and contract is not None:
            rule = flight_rule(self.world.stage.contract.grid)
            self.steering = Steering(self.session, Predictor(rule, PREDICTED, ANGLES, snap=contract.cell_size / 2))
        if self.steering is not None:
            self.steering.frame(now)
        for told in self.on_frame:
            told(now)
        self.flush()

    def flush(self) -> None:
        """What the session has to say goes on its way."""
        for data in self.session.outgoing(self.world.now):
            message = pb.ClientMessage.FromString(data)
            self.world.at(self.up.arrival(self.world.now), partial(self._deliver, message))

    async def _deliver(self, message: pb.ClientMessage) -> None:
        assert self.seat is not None
        if message.HasField("input"):
            self.world.stage.input(self.seat, message.input)
        elif message.HasField("ping"):
            pong = pb.Pong(nonce=message.ping.nonce, server_time_us=int(self.world.now * 1e6))
            await self.send_bytes(pb.Frame(pongs=[pong]).SerializeToString())

    def steer(self, turn: int, thrust: int, fire: int = 0) -> None:
        """An input, now."""
        assert self.steering is not None
        assert self.steering.send("Steer", {"turn": turn, "thrust": thrust, "fire": fire}, self.world.now)
        self.flush()


class LaggedWorld:
    """`run` lets time pass."""

    def __init__(self, seed: int, *, size: int = 512, shards: tuple[int, int] = (1, 1), bots: int = 0) -> None:
        self.stage = Stage(size=size, shards=shards, bots=bots, seed=seed)
        self.seed = seed
        self.now = 0.0
        self.players: list[Player] = []
        self._events: list[tuple[float, int, Callable[[], Awaitable[None]]]] = []
        self._count = 0
        self.at(TICK_S, self._tick)

    def at(self, when: float, run: Callable[[], Awaitable[None]]) -> None:
        """Something happens then."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, run))

    def join(self, round_trip_s: float, jitter_s: float) -> Player:
        """A player behind a network: half the round trip each way, and up to `jitter_s` more each way."""
        mirror = Mirror()
        limits = SessionLimits(ping_interval_s=0.5)
        session = ClientSession("frontier", "token", mirror, now=self.now, limits=limits)
        seed = f"{self.seed}/{len(self.players)}"
        ways = Way(round_trip_s / 2, jitter_s, f"{seed}/up"), Way(round_trip_s / 2, jitter_s, f"{seed}/down")
        player = Player(session, mirror, *ways, self)
        session.opened(self.now)
        session.outgoing(self.now)
        player.seat = self.stage.seat(player)
        self.players.append(player)
        self.at(self.now, lambda: self._keep_time(player))
        return player

    async def run(self, seconds: float) -> None:
        """Everything that happens within these seconds."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, happens = heapq.heappop(self._events)
            await happens()
        self.now = until

    async def _tick(self) -> None:
        self.at(self.now + TICK_S, self._tick)
        await self.stage.tick()

    async def _keep_time(self, player: Player) -> None:
        assert player.session.wake(self.now) is None
        player.flush()
        self.at(self.now + 0.25, lambda: self._keep_time(player))
