"""What an overlay shows, and what a client tells besides the world."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
from picows import WSMsgType

from loadtest.drawn import node
from overworld.client.closes import Next
from overworld.client.connection import Client, ClientOptions
from overworld.client.protocol import State
from overworld.client.rates import Rate
from overworld.wire.v1 import client_pb2 as pb
from tests.client.play_server import serving
from tests.client.test_connection import QUICK, WAIT_S, Steer, steer_and_wait

CONNECTION = Path(__file__).resolve().parents[2] / "clients" / "js" / "src" / "connection.js"


def test_a_rate_is_of_the_last_two_seconds() -> None:
    rate = Rate()
    assert rate.per_second(5.0) == 0
    for i in range(100):
        rate.add(10, 10 + i / 10)
    assert rate.per_second(19.95) == pytest.approx(100, abs=5)
    assert rate.per_second(25.0) == 0


def test_no_rate_keeps_more_than_its_bound() -> None:
    rate = Rate()
    for _ in range(10_000):
        rate.add(1, 10.0)
    assert rate.per_second(11.0) == 4096


def numbers_of_javascript() -> dict[str, object]:
    """What a new JavaScript client shows."""
    code = f"import {{ Client }} from '{CONNECTION.as_uri()}'; const ticket = () => ({{ token: '' }});"
    code += "console.log(JSON.stringify(new Client({ title: 'demo', ticket }).numbers()))"
    argv = [node(), "--input-type=module", "-e", code]
    told: dict[str, object] = json.loads(subprocess.run(argv, capture_output=True, timeout=60, check=True).stdout)
    return told


@pytest.mark.asyncio
async def test_both_sdks_show_the_same_numbers() -> None:
    theirs = await asyncio.to_thread(numbers_of_javascript)
    client = Client("ws://127.0.0.1:1/play", "token", "demo")
    ours = asdict(client.numbers())
    assert ours.keys() == theirs.keys()
    assert {k: v for k, v in ours.items() if k not in ("state", "delay_ms")} == {
        k: v for k, v in theirs.items() if k not in ("state", "delay_ms")
    }


@pytest.mark.asyncio
async def test_numbers_follow_play() -> None:
    async with serving() as server, Client(server.url, "t", "demo", options=QUICK) as client:
        _ = client.interpolator
        await steer_and_wait(client, 1, 0)
        await client.until(lambda c: c.session.clock.round_trip_s > 0 and c.numbers().tick > 3, WAIT_S)
        shown = client.numbers()
        assert (shown.state, shown.gateway, shown.shard) == ("playing", server.url, 0)
        assert (shown.inputs_sent, shown.inputs_pending, shown.acked) == (2, 0, 2)
        assert (shown.sockets, shown.resumes, shown.errors) == (1, 0, 0)
        assert shown.frames_per_second > 0
        assert shown.bytes_in_per_second > shown.frames_per_second
        assert shown.bytes_out_per_second > 0
        assert shown.ping_ms > 0
        assert 0 < shown.delay_ms <= 400
        assert client.beats[0].started


@pytest.mark.asyncio
async def test_states_welcomes_and_notices_are_told() -> None:
    states: list[tuple[State, Next | None]] = []
    notices: list[tuple[int, str]] = []
    worlds: list[str] = []
    async with serving() as server:
        client = Client(server.url, "t", "demo", options=QUICK)
        client.on_state(lambda state, verdict: states.append((state, verdict.next if verdict else None)))
        client.on_notice(lambda code, text: notices.append((code, text)))
        off = client.on_welcome(lambda contract: worlds.append(contract.title))
        async with client:
            piece = pb.Notice(code=pb.Notice.CODE_BROADCAST, text="hello")
            server.send_all(WSMsgType.BINARY, pb.Frame(notices=[piece, piece]).SerializeToString())
            await client.until(lambda _: len(notices) == 2, WAIT_S)
            server.close_all(1012, "restart")
            await client.until(lambda c: c.statistics.resumes == 1, WAIT_S)
            off()
            server.reset_all()
            await client.until(lambda c: c.statistics.resumes == 2, WAIT_S)
    assert notices == [(pb.Notice.CODE_BROADCAST, "hello")] * 2
    assert worlds == [server.hellos[0].title] * 2
    greeted = [(State.GREETING, None), (State.PLAYING, None)]
    assert states == [
        *greeted, (State.LOST, Next.RESUME), *greeted, (State.LOST, Next.RESUME), *greeted, (State.OVER, Next.STOP),
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_a_client_says_what_it_draws() -> None:
    async with serving() as server, Client(server.url, "t", "demo", options=QUICK) as client:
        assert client.seen() == client.mirror.home_tick()
        assert client.interpolator.sight(0, 0.0) is None
        await client.until(lambda c: c.interpolator.sight(0, 0.0) is not None, WAIT_S)
        assert client.send(Steer, thrust=1) is not None


@pytest.mark.asyncio
async def test_a_light_client_has_numbers_and_draws_nothing() -> None:
    client = Client("ws://127.0.0.1:1/play", "token", "demo", options=ClientOptions(light=True))
    assert client.numbers().entities == 0
    assert client.seen() == 0
    with pytest.raises(TypeError, match="no picture"):
        _ = client.interpolator
