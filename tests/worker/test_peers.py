"""Links between workers: who answers, and who is gone."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from overworld.link import Link, LinkCredentials, LinkLimits, LinkPeer, LinkServer, listen
from overworld.wire.v1 import link_pb2
from overworld.worker.peers import ANSWER_S, PeerEvents, Peers
from tests.worker.cluster import KEY, until

pytestmark = pytest.mark.asyncio
FINGERPRINT = "f" * 32
SILENT = LinkLimits(ping_s=60, silence_s=600)
"""The other side only answers."""


class _Quiet:
    """A worker's end of a link that says nothing of its own."""

    def on_message(self, link: Link, message: link_pb2.LinkMessage) -> None:
        """Nothing is expected."""

    def on_lost(self, link: Link, reason: str) -> None:
        """Nor held."""


def quiet(_: Link) -> LinkPeer:
    return _Quiet()


async def listening() -> tuple[LinkServer, str]:
    server = await listen("127.0.0.1", 0, LinkCredentials(KEY, FINGERPRINT, "other"), quiet, SILENT)
    return server, f"127.0.0.1:{server.port}"


async def test_a_worker_is_said_to_answer_again_and_again_while_it_does_and_gone_when_its_port_refuses() -> None:
    here: Counter[str] = Counter()
    gone: list[str] = []

    def answers(address: str) -> None:
        here[address] += 1

    server, address = await listening()
    peers = Peers(LinkCredentials(KEY, FINGERPRINT, "me"), PeerEvents(gone=gone.append, here=answers))
    try:
        peers.follow({address})
        await until(lambda: here[address] >= 6, "it answers, again and again")
        assert not gone
        await server.close()
        await until(lambda: gone == [address], "its port refuses")
        heard = here[address]
        await asyncio.sleep(0)
        assert here[address] == heard
    finally:
        await peers.close()


async def test_a_process_that_stands_still_does_not_answer() -> None:
    """Its kernel accepts and acknowledges, as that of a stopped process does; nobody reads."""
    here: Counter[str] = Counter()

    def answers(address: str) -> None:
        here[address] += 1

    server, address = await listening()
    peers = Peers(LinkCredentials(KEY, FINGERPRINT, "me"), PeerEvents(gone=lambda _: None, here=answers))
    try:
        peers.follow({address})
        await until(lambda: here[address] >= 1, "it answers")
        for link in server.links:
            assert link._transport is not None
            link._transport.pause_reading()
        await asyncio.sleep(2 * ANSWER_S)
        heard = here[address]
        await asyncio.sleep(2 * ANSWER_S)
        assert here[address] == heard
    finally:
        await peers.close()
        await server.close()
