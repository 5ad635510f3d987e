"""Simulated players: the product's client session, sending inputs at random, and telling the witness all they see."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from overworld.client.closes import Next
from overworld.client.mirror import Mirror
from overworld.client.protocol import ClientSession, State
from overworld.errors import WireError
from tests.simulation.sockets import ClientSide

Address = tuple[str, int]


class Witness(Protocol):
    """Who checks what bots see."""

    def sent(self, bot: Bot, seq: int, values: list[int]) -> None:
        """The bot made an input."""

    def saw(self, bot: Bot, taken: bool) -> None:
        """A message was applied (or dropped as old)."""

    def closed(self, bot: Bot, code: int, reason: str) -> None:
        """A socket of the bot is gone."""


class Bot:
    """One player."""

    def __init__(
        self,
        number: int,
        title: str,
        gateways: Callable[[], list[Address]],
        token: Callable[[str], str],
        witness: Witness,
        chance: random.Random,
    ) -> None:
        self.number = number
        self._gateways = gateways
        self._token = token
        self._witness = witness
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self.mirror = Mirror()
        self.session = ClientSession(title, "", self.mirror, now=self._loop.time())
        self.last_frame_s = self._loop.time()
        self._socket: ClientSide | None = None
        self._lost = asyncio.Event()
        self._close = (1006, "")

    @property
    def playing(self) -> bool:
        """Welcomed, and on a live socket."""
        return self.session.state is State.PLAYING

    async def play(self) -> None:
        """Connect, play, come back; for ever."""
        while True:
            await self._one_socket()
            verdict = self.session.closed(*self._close, self._loop.time(), self._chance.random())
            self._witness.closed(self, *self._close)
            if verdict.next is Next.STOP:
                return
            await asyncio.sleep(verdict.delay_s)

    async def _one_socket(self) -> None:
        self._lost.clear()
        self._close = (0, "nobody listens")
        addresses = self._gateways()
        if not addresses:
            return
        try:
            _, socket = await self._loop.create_connection(
                lambda: ClientSide(self._received, self._closed), *self._chance.choice(addresses)
            )
        except OSError:
            return
        self._socket = socket
        self.session.token = self._token(f"bot-{self.number}")
        self.session.opened(self._loop.time())
        self._flush()
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(self._chance.uniform(0.05, 0.5)):
                    await self._lost.wait()
            except TimeoutError:
                self._act()
        self._socket = None

    def _act(self) -> None:
        now = self._loop.time()
        why = self.session.wake(now)
        if why is not None and self._socket is not None:
            self._socket.drop()
            return
        contract = self.mirror.contract
        if self.playing and contract is not None:
            kind = contract.inputs[0]
            values = [self._chance.randint(low, high) for _, low, high in kind.fields]
            seq = self.session.submit(kind, values, now)
            if seq is not None:
                self._witness.sent(self, seq, values)
        self._flush()

    def _flush(self) -> None:
        if self._socket is not None:
            for message in self.session.outgoing(self._loop.time()):
                self._socket.put(2, message)

    def _received(self, data: bytes) -> None:
        try:
            taken = self.session.received(data, self._loop.time())
        except WireError as error:
            raise AssertionError(f"bot {self.number} was sent what breaks the protocol: {error}") from error
        self.last_frame_s = self._loop.time()
        self._witness.saw(self, taken)
        self._flush()

    def _closed(self, code: int, reason: str) -> None:
        self._close = (code, reason)
        self._lost.set()
