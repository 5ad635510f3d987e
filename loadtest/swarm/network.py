"""Networks by name: what lies between bots and gateways. The proxy itself is `loadtest.proxy`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from loadtest.proxy import Network, Proxy, round_trip

NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "good": Network(),
        "broadband": round_trip(0.03),
        "mobile": round_trip(0.09, 0.5),
        "far": round_trip(0.2, 0.1),
        "bad": round_trip(0.3, 1.0),
    }
)


class Roads:
    """What the bots of one process connect to, by network: the gateways themselves for "good" while the network never
    changes, else a proxy before each. For plain ws:// only.
    """

    def __init__(self, urls: tuple[str, ...], seed: int, *, changes: bool) -> None:
        """`changes`: the run changes networks on its way, so that all bots go through proxies."""
        self._urls = urls
        self._seed = seed
        self._changes = changes
        self._proxies: dict[str, list[Proxy]] = {}

    async def urls(self, network: str) -> tuple[str, ...]:
        """Where bots on this network connect."""
        if network == "good" and not self._changes:
            return self._urls
        if network not in self._proxies:
            self._proxies[network] = [await self._proxy(url, network, i) for i, url in enumerate(self._urls)]
        pairs = zip(self._urls, self._proxies[network], strict=True)
        return tuple(f"ws://127.0.0.1:{proxy.port}{urlsplit(url).path}" for url, proxy in pairs)

    def become(self, network: str) -> None:
        """Every road is like this one from now on; "" gives each its own back."""
        for name, proxies in self._proxies.items():
            for proxy in proxies:
                proxy.network = NETWORKS[network or name]

    async def close(self) -> None:
        """Cut everything."""
        for proxy in [p for proxies in self._proxies.values() for p in proxies]:
            await proxy.__aexit__()

    async def _proxy(self, url: str, network: str, number: int) -> Proxy:
        parts = urlsplit(url)
        if parts.scheme != "ws" or not parts.hostname:
            raise ValueError(f"a network other than good needs plain ws:// gateways, not {url}")
        proxy = Proxy(parts.hostname, parts.port or 80, NETWORKS[network], self._seed + number)
        return await proxy.__aenter__()
