"""Bots against a little server: they come, play within the rules, survive resets, and report what happened."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from overworld.client import bots
from overworld.client.closes import BackOff, Verdict
from overworld.client.connection import ClientOptions
from overworld.client.guest import Tokens
from overworld.client.protocol import SessionLimits
from overworld.client.swarm import BotOptions, BotReport, Swarm, play
from overworld.errors import WireError
from overworld.wire.v1 import client_pb2 as pb
from tests.client.play_server import Models, PlayServer, serving

WAIT_S = 20.0
CLIENT = ClientOptions(
    wake_interval_s=0.05,
    leave_timeout_s=1.0,
    limits=SessionLimits(back_off=BackOff(0.01, 0.05), give_up_s=10.0, welcome_timeout_s=5.0),
)


def options(*servers: PlayServer, count: int = 12) -> BotOptions:
    return BotOptions(
        urls=tuple(server.url for server in servers),
        title="demo",
        tokens=Tokens(cluster_key=b"k" * 32, title="demo"),
        count=count,
        seed=5,
        joins_per_s=1000.0,
        report_interval_s=0.2,
        client=CLIENT,
    )


async def until_true(happened: object) -> None:
    assert callable(happened)
    async with asyncio.timeout(WAIT_S):
        while not happened():
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_bots_play_over_both_gateways_and_lose_nothing_when_one_resets_them() -> None:
    models: Models = {}
    async with serving(models) as one, serving(models) as two:
        swarm = Swarm(options(one, two))
        await swarm.start()
        await swarm.all_playing(WAIT_S)
        assert (len(one.hellos), len(two.hellos)) == (6, 6)
        await until_true(lambda: sum(len(m.applied) for m in models.values()) >= 12)
        one.reset_all()
        await until_true(lambda: swarm.report().statistics.resumes == 6)
        for bot in swarm.bots:
            bot.rest()
        await until_true(lambda: all(bot.client.session.unacked == 0 for bot in swarm.bots))
        before = sum(len(m.applied) for m in models.values())
        report = await swarm.stop()
    assert (one.byes, two.byes) == (0, 12)
    assert all(not m.violations for m in models.values())
    statistics = report.statistics
    assert statistics.inputs == statistics.inputs_acked == before
    assert (report.bots, report.playing, report.closed, statistics.closes[1000]) == (12, 12, 6, 12)
    assert (statistics.broken, statistics.acks_rolled_back) == (0, 0)
    assert not report.stopped
    assert len(statistics.gap) > 0
    json.dumps(report.summary())
    assert BotReport.from_plain(json.loads(json.dumps(report.to_plain()))).summary() == report.summary()


@pytest.mark.asyncio
async def test_bots_send_only_what_changes() -> None:
    models: Models = {}
    async with serving(models) as server, Swarm(options(server, count=3)):
        await until_true(lambda: sum(len(m.applied) for m in models.values()) >= 9)
    for model in models.values():
        # Steer and Fire have different numbers of fields, so that two equal neighbours would be a repeat.
        assert all(a != b for a, b in zip(model.applied, model.applied[1:], strict=False))


@pytest.mark.asyncio
async def test_a_swarm_of_light_bots() -> None:
    async with serving() as server:
        swarm = Swarm(replace(options(server, count=3), light=True), shared_statistics=False)
        async with swarm:
            await until_true(lambda: swarm.report().statistics.inputs_acked >= 3)
        assert len({id(bot.client.statistics) for bot in swarm.bots}) == 3
        assert swarm.report().statistics.frames == sum(bot.client.statistics.frames for bot in swarm.bots)


class Notes:
    """A witness that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def connecting(self, url: str) -> None:
        self.told.append("connecting")

    def received(self, data: bytes) -> None:
        self.told.append("welcome" if pb.Frame.FromString(data).welcomes else "received")

    def sent(self, data: bytes) -> None:
        self.told.append(f"sent {pb.ClientMessage.FromString(data).WhichOneof('message')}")

    def broke(self, error: WireError) -> None:
        self.told.append("broke")

    def gone(self, verdict: Verdict) -> None:
        self.told.append(f"gone {verdict.code} {verdict.next.value}")


@pytest.mark.asyncio
async def test_a_witness_is_told_everything_in_order() -> None:
    notes = Notes()
    async with serving() as server:
        swarm = Swarm(options(server, count=1), witness=lambda _: notes)
        async with swarm:
            await until_true(lambda: swarm.report().statistics.inputs_acked >= 1)
            server.reset_all()
            await until_true(lambda: swarm.report().statistics.resumes == 1)
    short = [t for t in notes.told if t not in ("received", "sent input", "sent ping")]
    first = ["connecting", "sent hello", "welcome", "gone 1006 resume"]
    assert short == [*first, "connecting", "sent hello", "welcome", "sent bye", "gone 1000 stop"]
    assert notes.told.count("sent input") == swarm.report().statistics.inputs_sent


@pytest.mark.asyncio
async def test_play_ends_with_its_time_and_counts_bots_that_were_stopped() -> None:
    async with serving() as server:
        asyncio.get_running_loop().call_later(0.5, server.close_all, 4012, "kicked")
        report = await play(replace(options(server, count=4), duration_s=5.0), asyncio.Event())
    assert report.stopped == {"4012 kicked": 4}
    assert report.playing == 0
    assert report.seconds < 5.0


@contextmanager
def serving_elsewhere() -> Iterator[PlayServer]:
    """A server in a thread of its own, for callers that block this one."""
    ready, over = threading.Event(), threading.Event()
    found: list[PlayServer] = []

    async def serve() -> None:
        async with serving() as server:
            found.append(server)
            ready.set()
            while not over.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        yield found[0]
    finally:
        over.set()
        thread.join(WAIT_S)


@pytest.mark.parametrize("processes", [1, 2])
def test_run_plays_for_its_time_and_leaves_in_order(processes: int) -> None:
    with serving_elsewhere() as server:
        report = bots.run(replace(options(server, count=5), processes=processes, duration_s=1.5))
        assert server.byes == 5
    assert (report.bots, report.playing, report.closed) == (5, 5, 0)
    assert report.statistics.inputs_acked > 0
    assert not report.stopped


@pytest.mark.parametrize("processes", [1, 2])
def test_run_stops_on_a_signal(processes: int) -> None:
    def interrupt(server: PlayServer) -> None:
        deadline = time.monotonic() + WAIT_S
        while len(server.hellos) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    with serving_elsewhere() as server:
        thread = threading.Thread(target=interrupt, args=(server,))
        thread.start()
        report = bots.run(replace(options(server, count=4), processes=processes))
        thread.join()
        assert server.byes == 4
    assert (report.bots, report.closed) == (4, 0)


def test_shares_keep_every_bots_number() -> None:
    whole = BotOptions(urls=("ws://x/play",), title="t", tokens=Tokens(), count=10, processes=4, first=100)
    parts = bots.shares(whole)
    numbers = [n for part in parts for n in range(part.first, part.first + part.count)]
    assert numbers == list(range(100, 110))
    assert len(bots.shares(replace(whole, count=2))) == 2
