"""What lies between the bots and the gateways: `overworld.client.networks` by name, and "none"."""

from __future__ import annotations

from overworld.client.networks import NETWORKS as BAD
from overworld.client.networks import Network
from overworld.client.proxy import Road

NONE = "none"
NETWORKS = {NONE: Network(), **BAD}


class Roads:
    """What the bots of one process connect to, by network: the gateways themselves for "none" while the network never
    changes, else a proxy before each. For plain ws:// only.
    """

    def __init__(self, urls: tuple[str, ...], seed: int, *, changes: bool) -> None:
        """`changes`: the run changes networks on its way, so that all bots go through proxies."""
        self._urls = urls
        self._seed = seed
        self._changes = changes
        self._roads: dict[str, tuple[Road, tuple[str, ...]]] = {}

    async def urls(self, network: str) -> tuple[str, ...]:
        """Where bots on this network connect. Raises ValueError for gateways no proxy can stand in for."""
        if network == NONE and not self._changes:
            return self._urls
        if network not in self._roads:
            road = Road(self._urls, NETWORKS[network], self._seed)
            self._roads[network] = road, await road.__aenter__()
        return self._roads[network][1]

    def become(self, network: str) -> None:
        """Every road is like this one from now on; "" gives each its own back."""
        for name, (road, _) in self._roads.items():
            for proxy in road.proxies:
                proxy.become(NETWORKS[network or name])

    async def close(self) -> None:
        """Cut everything."""
        for road, _ in self._roads.values():
            await road.__aexit__()
