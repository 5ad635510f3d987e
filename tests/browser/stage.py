"""A stage for the page: frontier's real rules and real frames, in one process, without stores, links or gateways.

    python -m tests.browser.stage --port 8800 --bots 40 --size 512

It plays what a cluster rarely shows on demand: a crowd in a small world, a lost socket, notices, a pause. `POST /stage`
with {"do": "notice", "code": 1, "text": "..."}, {"do": "drop", "code": 1012} or {"do": "pause", "seconds": 2}.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from aiohttp import WSMsgType, web

from overworld.game import contract_of
from overworld.shard.core import ShardCore
from overworld.shard.inbox import Inbox, InputColumnsIn
from overworld.shard.inputs import SessionEvent, ShardMessage, TickOutcome
from overworld.titles.frontier import Frontier
from overworld.titles.frontier.kinds import Ship
from overworld.wire.cells import CellUpdates
from overworld.wire.v1 import client_pb2 as pb
from overworld.world.contract import WorldContract
from overworld.world.grid import Grid
from tests.client.worlds import welcome_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "server" / "overworld" / "gateway" / "web"
CLIENT = ROOT / "clients" / "js" / "src"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TICKS_UNTIL_BOTS_THINK = 12


class Socket(Protocol):
    """Where a player's frames go."""

    async def send_bytes(self, data: bytes) -> None:
        """One message."""

    async def close(self, *, code: int, message: bytes) -> object:
        """The end."""


@dataclass
class Seat:
    """A session and the socket it has now; bots have none. `moving`: its player is on the way to `shard`."""

    session: int
    shard: int
    socket: Socket | None = None
    held: set[int] = field(default_factory=set)
    entering: dict[int, set[int]] = field(default_factory=dict)
    leaving: set[int] = field(default_factory=set)
    welcomed: bool = False
    seq: int = 0
    moving: bool = False
    unacked: dict[int, pb.Input] = field(default_factory=dict)


class Stage:
    """The world and who is in it."""

    def __init__(self, size: int, shards: tuple[int, int], bots: int, seed: int) -> None:
        title = Frontier()
        grid = Grid(width=size, height=size, cell=32, shards=shards, view=64, tick_hz=20)
        self.contract: WorldContract = contract_of(title, "stage", seed=seed, grid=grid)
        self.cores = [ShardCore(self.contract, title, i) for i in range(grid.shard_count)]
        self.inboxes = [Inbox(self.contract) for _ in self.cores]
        for core in self.cores:
            core.setup()
        self._mail: list[list[ShardMessage]] = [[] for _ in self.cores]
        self.seats: dict[int, Seat] = {}
        self.pause_s = 0.0
        self._chance = random.Random(seed)
        self._next = 1
        for _ in range(bots):
            seat = self._sit()
            self.inboxes[seat.shard].event(SessionEvent.JOIN, seat.session, seat.session)
        self.bots = list(self.seats.values())

    def _sit(self) -> Seat:
        session, self._next = self._next, self._next + 1
        seat = self.seats[session] = Seat(session, session % len(self.cores))
        return seat

    # ------------------------------------------------------------ sockets

    async def play(self, request: web.Request) -> web.WebSocketResponse:
        """One game socket, from hello to close."""
        socket = web.WebSocketResponse(max_msg_size=1024, compress=False)
        await socket.prepare(request)
        seat: Seat | None = None
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                await socket.close(code=1003)
                break
            told = pb.ClientMessage.FromString(message.data)
            kind = told.WhichOneof("message")
            if kind == "hello":
                seat = await self._hello(told.hello, socket)
            elif seat is not None and kind == "input":
                self.input(seat, told.input)
            elif kind == "ping":
                now_us = int(asyncio.get_running_loop().time() * 1e6)
                await socket.send_bytes(
                    pb.Frame(pongs=[pb.Pong(nonce=told.ping.nonce, server_time_us=now_us)]).SerializeToString()
                )
            elif kind == "bye":
                await socket.close(code=1000)
        if seat is not None and seat.socket is socket:
            seat.socket = None
            self.inboxes[seat.shard].event(SessionEvent.LOST, seat.session, seat.session)
        return socket

    async def _hello(self, hello: pb.Hello, socket: web.WebSocketResponse) -> Seat | None:
        if hello.title != self.contract.title:
            await socket.close(code=4004, message=b"no such title here")
            return None
        known = self.seats.get(int(hello.resume.decode() or 0))
        if hello.resume and known is None:
            await socket.close(code=4008, message=b"unknown resume token")
            return None
        return self.seat(socket, known)

    def seat(self, socket: Socket, known: Seat | None = None) -> Seat:
        """A player begins, or comes back to the seat it has."""
        seat = known or self._sit()
        seat.socket, seat.welcomed = socket, False
        seat.held, seat.entering, seat.leaving = set(), {}, set()
        event = SessionEvent.RESUME if known else SessionEvent.JOIN
        self.inboxes[seat.shard].event(event, seat.session, seat.session)
        return seat

    def input(self, seat: Seat, told: pb.Input) -> None:
        """A player's input arrives. One between shards waits."""
        seat.unacked[told.seq] = told
        if not seat.moving:
            self._pass_on(seat, told)

    def _pass_on(self, seat: Seat, told: pb.Input) -> None:
        def one(value: int) -> npt.NDArray[np.int64]:
            return np.array([value], np.int64)

        batch = InputColumnsIn(
            sessions=one(seat.session),
            seqs=one(told.seq),
            kinds=one(told.kind),
            seen_ticks=one(told.seen_tick),
            due_ticks=one(told.due_tick),
            counts=one(len(told.values)),
            values=np.array(told.values, np.int64),
        )
        self.inboxes[seat.shard].inputs(batch)

    # ------------------------------------------------------------ ticks

    async def run(self) -> None:
        """Tick all shards, half a tick apart, until cancelled."""
        loop = asyncio.get_running_loop()
        interval_s = self.contract.grid.tick_interval_us / 1e6
        due = loop.time()
        while True:
            due += interval_s
            if self.pause_s:
                due, self.pause_s = due + self.pause_s, 0.0
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self.tick()

    async def tick(self) -> None:
        """One tick of every shard."""
        for core, inbox in zip(self.cores, self.inboxes, strict=True):
            await self._tick(core, inbox)

    async def _tick(self, core: ShardCore, inbox: Inbox) -> None:
        self._think(core)
        inputs, _refused = inbox.take(core.shard, core.sessions)
        mail, self._mail[core.index] = self._mail[core.index], []
        outcome = core.step(replace(inputs, messages=tuple(mail)))
        self._part(outcome)
        updates = core.encode()
        singles = self._singles(core, outcome)
        head = pb.Frame(heads=[pb.TickHead(shard=core.index, epoch=1, tick=core.tick)]).SerializeToString()
        for seat in list(self.seats.values()):
            if seat.socket is None or not (seat.welcomed or seat.session in singles):
                continue
            frame = singles.get(seat.session, b"") + self._cells(core, seat, updates)
            if frame or any(self._shard_of(cell) == core.index for cell in seat.held):
                with contextlib.suppress(ConnectionError):
                    await asyncio.wait_for(seat.socket.send_bytes(head + frame), 1)

    def _part(self, outcome: TickOutcome) -> None:
        """What leaves for another shard is there at its next tick, and so are the players' sessions."""
        for message in outcome.outbox:
            self._mail[message.to_shard].append(message)
        for session, shard, _ in zip(*(c.tolist() for c in outcome.moved), strict=True):
            seat = self.seats[session]
            seat.shard, seat.moving = shard, True
            self.inboxes[shard].event(SessionEvent.RESUME, session, session)

    def _singles(self, core: ShardCore, outcome: TickOutcome) -> dict[int, bytes]:
        """Welcomes, acks and owns as Frame bytes by session; changes of view go to the seats."""
        found: dict[int, bytes] = {}
        for session, last_seq in zip(*(c.tolist() for c in outcome.joined), strict=True):
            seat = self.seats[session]
            if not seat.welcomed:
                welcome = welcome_of(self.contract)
                welcome.session, welcome.resume, welcome.last_seq = session, str(session).encode(), last_seq
                found[session] = pb.Frame(welcomes=[welcome]).SerializeToString()
            seat.welcomed, seat.moving = True, False
            for told in [told for seq, told in sorted(seat.unacked.items()) if seq > last_seq]:
                self._pass_on(seat, told)
        for session, seq in zip(*(c.tolist() for c in outcome.acks), strict=True):
            unacked = self.seats[session].unacked
            for applied in [each for each in unacked if each <= seq]:
                del unacked[applied]
            ack = pb.Frame(acks=[pb.Ack(seq=seq, shard=core.index, tick=core.tick)])
            found[session] = found.get(session, b"") + ack.SerializeToString()
        at = 0
        sessions, sizes, data = outcome.owns
        for session, size in zip(sessions.tolist(), sizes.tolist(), strict=True):
            found[session] = found.get(session, b"") + data[at : at + size]
            at += size
        for session, centre in zip(*(c.tolist() for c in outcome.views), strict=True):
            self._look(self.seats[session], set(self.contract.grid.view_of(centre)))
        return found

    def _look(self, seat: Seat, cells: set[int]) -> None:
        seat.leaving |= seat.held - cells
        for cell in cells - seat.held:
            seat.entering.setdefault(self._shard_of(cell), set()).add(cell)
        seat.held = cells

    def _cells(self, core: ShardCore, seat: Seat, updates: CellUpdates) -> bytes:
        entering = seat.entering.pop(core.index, set())
        known = seat.held - entering
        pieces = [updates.piece(i) for i, cell in enumerate(updates.cells.tolist()) if cell in known]
        if entering or seat.leaving:
            view = pb.View(entered=sorted(entering), left=sorted(seat.leaving))
            pieces.append(pb.Frame(views=[view]).SerializeToString())
            seat.leaving = set()
            keyframes = core.keyframes(np.array(sorted(entering), np.int64))
            pieces += [keyframes.piece(i) for i in range(len(keyframes))]
        return b"".join(pieces)

    def _shard_of(self, cell: int) -> int:
        return self.contract.grid.shard_of_cell(cell)

    def _think(self, core: ShardCore) -> None:
        """Bots change their minds now and then."""
        for bot in self.bots:
            if bot.shard == core.index and self._chance.randrange(TICKS_UNTIL_BOTS_THINK) == 0:
                bot.seq += 1
                values = [
                    self._chance.choice((-1, 0, 0, 1)),
                    self._chance.choice((1, 1, 1, 0, -1)),
                    self._chance.choice((0, 0, 1)),
                ]
                self.input(bot, pb.Input(seq=bot.seq, kind=0, values=values))

    # ------------------------------------------------------------ direction

    async def direct(self, request: web.Request) -> web.Response:
        """The same by hand, from outside: see the module."""
        order: dict[str, Any] = await request.json()
        if order["do"] == "notice":
            await self.notice(order["code"], order.get("text", ""))
        elif order["do"] == "drop":
            await self.drop(order["code"], order.get("reason", ""))
        elif order["do"] == "pause":
            self.pause_s = float(order["seconds"])
        return web.json_response({})

    def send_across(self, session: int, distance: float, speed: float) -> None:
        """A player's ship stands so far (in the title's measure) from the border between shards 0 and 1, and flies
        towards it with this speed a tick. Nobody can hurt it.
        """
        shard = self.cores[self.seats[session].shard].shard
        ships, row = shard[Ship], shard.avatar_rows(shard.players.rows_of(np.array([session], np.int64)), Ship)
        way = 1 - 2 * shard.index
        ships.at.x[row] = shard.units(shard.grid.width / 2 - way * distance)
        ships.at.y[row] = shard.units(shard.grid.height / 2)
        ships.at.vx[row], ships.at.vy[row] = way * shard.units(speed), 0
        ships.safe_tick[row] = shard.tick + 100 * shard.grid.tick_hz

    async def notice(self, code: int, text: str = "") -> None:
        """Tell every player."""
        notice = pb.Frame(notices=[pb.Notice(code=pb.Notice.Code.ValueType(code), text=text)]).SerializeToString()
        for socket in self._sockets():
            await socket.send_bytes(notice)

    async def drop(self, code: int, reason: str = "") -> None:
        """Close every socket."""
        for socket in self._sockets():
            await socket.close(code=code, message=reason.encode())

    def _sockets(self) -> list[Socket]:
        return [seat.socket for seat in self.seats.values() if seat.socket is not None]


def application(stage: Stage) -> web.Application:
    """The page, the client library, guests, the game socket and the director's entrance."""

    @web.middleware
    async def policy(request: web.Request, handler: Any) -> web.StreamResponse:
        answer: web.StreamResponse = await handler(request)
        if not answer.prepared:
            answer.headers["Content-Security-Policy"] = POLICY
            answer.headers["Cache-Control"] = "no-store"
        return answer

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE / "index.html")

    async def guest(request: web.Request) -> web.Response:
        await request.json()
        url = f"ws://{request.host}/play"
        return web.json_response({"token": "guest", "player": "0", "urls": [url, url], "title": stage.contract.title})

    async def ticking(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(stage.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app = web.Application(middlewares=[policy])
    app.router.add_get("/", page)
    app.router.add_get("/play", stage.play)
    app.router.add_post("/api/guest", guest)
    app.router.add_post("/stage", stage.direct)
    app.router.add_static("/js", CLIENT)
    app.router.add_static("/", PAGE)
    app.cleanup_ctx.append(ticking)
    return app


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8800)
    parser.add_argument("--bots", type=int, default=40)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--shards", type=int, nargs=2, default=(1, 1))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    stage = Stage(given.size, tuple(given.shards), given.bots, given.seed)
    web.run_app(application(stage), host="127.0.0.1", port=given.port, print=None)


if __name__ == "__main__":
    main()
