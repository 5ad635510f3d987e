"""Moves shards between workers of a running cluster, as a worker would ask for it: over the link."""

from __future__ import annotations

import asyncio
from typing import Self

from loadtest.cluster import Cluster, Node
from overworld.errors import LinkError
from overworld.link import Link, LinkCredentials, connect
from overworld.wire.v1 import link_pb2

ANSWER_S = 60.0
CONNECT_S = 5.0
NAME = "observer"


class Mover:
    """Asks workers to bring shards to them."""

    def __init__(self, cluster: Cluster, fingerprint: str) -> None:
        self._cluster = cluster
        self._credentials = LinkCredentials(cluster.key.encode(), fingerprint, NAME)
        self._asked = 0

    async def move(self, shard: int, to: Node) -> link_pb2.MoveEnded:
        """Bring a shard to a worker. Raises LinkError or TimeoutError where there is no answer."""
        async with _Line(to.port, self._credentials) as line:
            self._asked += 1
            return await line.ask(link_pb2.MoveShard(number=self._asked, shard=shard))

    async def owner_of(self, shard: int) -> Node | None:
        """The worker that runs a shard now, by its own word."""
        for node in self._cluster.workers:
            if node.process.alive and shard in await asyncio.to_thread(node.shards):
                return node
        return None


class _Line:
    """One link for one question. A LinkPeer."""

    def __init__(self, port: int, credentials: LinkCredentials) -> None:
        self._port = port
        self._credentials = credentials
        self._answer: asyncio.Future[link_pb2.MoveEnded] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        self._link = await connect("127.0.0.1", self._port, self._credentials, self, CONNECT_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._link.close("asked")

    async def ask(self, question: link_pb2.MoveShard) -> link_pb2.MoveEnded:
        self._link.send(link_pb2.LinkMessage(move=question))
        async with asyncio.timeout(ANSWER_S):
            return await self._answer

    def on_message(self, link: Link, message: link_pb2.LinkMessage) -> None:  # noqa: ARG002 - a LinkPeer
        """The answer."""
        if message.WhichOneof("message") == "moved" and not self._answer.done():
            self._answer.set_result(message.moved)

    def on_lost(self, link: Link, reason: str) -> None:  # noqa: ARG002 - a LinkPeer
        """No answer will come."""
        if not self._answer.done():
            self._answer.set_exception(LinkError(f"the worker is gone: {reason}"))
