"""One player among the load who decodes everything: is what so many get at once still the game?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from loadtest.peers.rivals import Running
from loadtest.worlds import world_of
from overworld.client.connection import Client
from overworld.client.guest import mint_token

JOIN_S = 90.0
LOOK_S = 0.5
LIMIT_S = 300.0


@dataclass
class Observed:
    """`in_view`: avatars held, at each look. `faults` must be empty."""

    frames: int = 0
    in_view: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def in_view_mean(self) -> float | None:
        """Avatars in view on average."""
        return sum(self.in_view) / len(self.in_view) if self.in_view else None


@asynccontextmanager
async def observing(server: Running) -> AsyncIterator[Observed]:
    """Play along, steering, as long as this is entered."""
    observed = Observed()
    assert server.cluster is not None
    task = asyncio.create_task(_observe(server, observed))
    try:
        yield observed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _observe(server: Running, observed: Observed) -> None:
    cluster = server.cluster
    assert cluster is not None
    contract, _ = world_of(cluster.shape)

    async def token() -> str:
        return mint_token(cluster.key.encode(), contract.world, contract.title, "observer")

    client = Client(cluster.gateways[0].play_url, token, contract.title)
    await client.start()
    try:
        await client.until(lambda c: c.playing and c.mirror.own() is not None, JOIN_S)
        for turn in range(int(LIMIT_S / LOOK_S)):
            client.send("Heading", angle=turn * 37 % 256, on=1)
            await asyncio.sleep(LOOK_S)
            _look(client, observed)
    finally:
        await client.stop()


def _look(client: Client, observed: Observed) -> None:
    mirror, statistics = client.mirror, client.statistics
    observed.frames = statistics.frames
    if not client.playing:
        return
    seen = [thing.entity for kind in range(2) for thing in mirror.entities(kind)]
    observed.in_view.append(len(seen))
    told = {
        "messages broke the protocol": statistics.broken,
        "ticks came twice or late": statistics.dropped,
        "entities stand in two cells": len(seen) - len(set(seen)),
        "acked inputs were forgotten": statistics.acks_rolled_back,
    }
    observed.faults = [f"{count} {what}" for what, count in told.items() if count]
    if mirror.own() is None:
        observed.faults.append("the own avatar is not in view")
