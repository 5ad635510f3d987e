"""Finding workers: shard -> owner (asked of the directory) -> link (opened as needed).

The directory is a hint. What is true is what workers answer: a worker that does not have a shard says so, and an
owner's epoch never goes back. A route stays until its link is lost, its worker says the shard is gone, or the directory
names a newer owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from overworld import telemetry
from overworld.errors import LinkError, StoreError
from overworld.link import Link, LinkCredentials, connect
from overworld.store.members import OWNERS_PER_CALL_MAX
from overworld.store.ports import Member, Owner
from overworld.wire.v1.link_pb2 import LinkMessage, ShardHere

log = structlog.get_logger(__name__)

POLL_S = 1.0
POLL_SEARCHING_S = 0.1
DIRECTORY_TIMEOUT_S = 2.0
LOOK_S_MIN = 0.02
RETRY_S_MIN = 0.05
RETRY_S_MAX = 2.0
WARM_POLL_S = 1.0
WARM_LINKS_MAX = 64
"""Workers that a link is kept to although no shard of theirs is wanted: whoever takes a shard over says so on it at
once, and need not be dialled while players wait. Beyond it some are dialled only then.
"""
WARM_SILENT_S_MAX = 3.0
"""A worker that has not announced itself for longer is not dialled for that."""


class Owners(Protocol):
    """What routing asks of the directory."""

    async def owners(self, world: str, shards: Iterable[int]) -> Mapping[int, Owner]:
        """See `overworld.store.ports.Directory`."""

    async def workers(self, now_s: float) -> Sequence[Member]:
        """See `overworld.store.ports.Directory`."""


class RouteEvents(Protocol):
    """Who is told of routes. Called on the event loop's thread; must not block."""

    def route_found(self, shard: int) -> None:
        """The shard can be reached, by a worker that knows nothing of this gateway's sessions and watches there."""

    def route_lost(self, shard: int) -> None:
        """The shard cannot be reached any more."""

    def on_message(self, link: Link, message: LinkMessage) -> None:
        """A worker says something; `ShardGone` is dealt with already."""


class Backoff:
    """Growing pauses between tries of one thing: doubled each time, between half and all of it by chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._tries = 0
        self.until_s = 0.0

    def failed(self, now_s: float) -> None:
        """Wait longer from now on."""
        pause_s = min(RETRY_S_MAX, RETRY_S_MIN * 2**self._tries)
        self._tries = min(self._tries + 1, 16)
        self.until_s = now_s + pause_s * (0.5 + self._chance.random() / 2)


@dataclass(frozen=True, slots=True)
class _Route:
    link: Link
    epoch: int


class Routing:
    """All routes and links of one gateway. `wanted` names the shards somebody here needs now."""

    def __init__(
        self,
        directory: Owners,
        world: str,
        credentials: LinkCredentials,
        events: RouteEvents,
        wanted: Callable[[], Collection[int]],
        link_timeout_s: float,
        chance: random.Random,
    ) -> None:
        self._directory = directory
        self._world = world
        self._credentials = credentials
        self._events = events
        self._wanted = wanted
        self._link_timeout_s = link_timeout_s
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._owners: dict[int, Owner] = {}
        self._routes: dict[int, _Route] = {}
        self._links: dict[str, Link] = {}
        self._dials: dict[str, asyncio.Task[None]] = {}
        self._dial_backoff: dict[str, Backoff] = {}
        self._gone_backoff: dict[int, Backoff] = {}
        self._lost_before: set[int] = set()
        self._warm: set[str] = set()
        self._directory_down = False

    # ------------------------------------------------------------ for its owner

    def link_of(self, shard: int) -> Link | None:
        """The link to the shard's worker, where it can be reached."""
        route = self._routes.get(shard)
        return route.link if route is not None else None

    @property
    def fill(self) -> float:
        """How full the fullest link's buffer is, 0 to 1."""
        return max((link.fill for link in self._links.values()), default=0.0)

    def silent_shards(self, seconds: float) -> frozenset[int]:
        """Shards whose workers' links are open and have brought nothing for so long."""
        silent = {route.link for route in self._routes.values() if route.link.silent_s > seconds}
        return frozenset(shard for shard, route in self._routes.items() if route.link in silent)

    def wake(self) -> None:
        """Something is wanted that was not before: look at once."""
        self._wake.set()

    async def run(self) -> None:
        """Keep routes to all wanted shards, and links to those who may take them over, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_routes())
            tasks.create_task(self._keep_warm())

    async def _keep_routes(self) -> None:
        while True:
            self._wake.clear()
            await self._look_up()
            self._settle()
            # However many sessions ask, the directory is asked so often at most.
            await asyncio.sleep(LOOK_S_MIN)
            # Not `wait_for`: in Python 3.11 it forgets a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()

    async def close(self) -> None:
        """Close all links."""
        for dial in self._dials.values():
            dial.cancel()
        await asyncio.gather(*self._dials.values(), return_exceptions=True)
        for link in tuple(self._links.values()):
            link.close("the gateway stops")

    # ------------------------------------------------------------ LinkPeer

    def on_message(self, link: Link, message: LinkMessage) -> None:
        """A worker says something."""
        kind = message.WhichOneof("message")
        if kind == "here":
            self._heard_of(message.here)
            return
        if kind != "gone":
            if self._gone_backoff and kind == "output":
                self._gone_backoff.pop(message.output.shard, None)
            self._events.on_message(link, message)
            return
        shard = message.gone.shard
        if self.link_of(shard) is not link:
            return
        self._lose(shard)
        if message.gone.address:
            # Moved: the new owner waits for us. Should that be wrong, it says so, and the directory is asked.
            owner = self._owners[shard] = Owner(message.gone.address, message.gone.epoch)
            if shard in self._wanted():
                self._find(shard, owner, self._loop.time())
        else:
            self._gone_backoff.setdefault(shard, Backoff(self._chance)).failed(self._loop.time())
        self.wake()

    def on_lost(self, link: Link, reason: str) -> None:
        """A worker, or the network to it, is gone."""
        for address in [address for address, known in self._links.items() if known is link]:
            del self._links[address]
            log.warning("worker_link_lost", address=address, worker=link.remote, reason=reason)
        for shard in [shard for shard, route in self._routes.items() if route.link is link]:
            self._lose(shard)
        self.wake()

    # ------------------------------------------------------------ inside

    def _heard_of(self, here: ShardHere) -> None:
        """A worker says that a shard has become its own. It may have slept since: older epochs count for nothing."""
        route = self._routes.get(here.shard)
        if here.shard not in self._wanted() or (route is not None and route.epoch >= here.epoch):
            return
        if route is not None:
            self._lose(here.shard)
        owner = self._owners[here.shard] = Owner(here.address, here.epoch)
        self._gone_backoff.pop(here.shard, None)
        self._find(here.shard, owner, self._loop.time())

    async def _look_up(self) -> None:
        wanted = sorted(self._wanted())
        if not wanted:
            return
        try:
            async with asyncio.timeout(DIRECTORY_TIMEOUT_S):
                owners: dict[int, Owner] = {}
                for first in range(0, len(wanted), OWNERS_PER_CALL_MAX):
                    asked = wanted[first : first + OWNERS_PER_CALL_MAX]
                    owners |= await self._directory.owners(self._world, asked)
                self._owners = owners
        except (StoreError, TimeoutError) as error:
            telemetry.gateway_directory_failures_total.inc()
            if not self._directory_down:
                log.warning("directory_unreachable", reason=str(error) or "timeout")
            self._directory_down = True
            return
        if self._directory_down:
            log.info("directory_back")
        self._directory_down = False

    async def _keep_warm(self) -> None:
        """Keep links to workers that live. Where the directory does not answer, those that are open stay."""
        while True:
            try:
                async with asyncio.timeout(DIRECTORY_TIMEOUT_S):
                    members = await self._directory.workers(self._loop.time())
            except (StoreError, TimeoutError):
                telemetry.gateway_directory_failures_total.inc()
            else:
                self._warm_up({member.address for member in members if member.silent_s < WARM_SILENT_S_MAX})
            await asyncio.sleep(WARM_POLL_S)

    def _warm_up(self, live: set[str]) -> None:
        """Dial those of `live` that are to be kept a link to. Who was chosen stays chosen while it lives."""
        self._warm &= live
        others = sorted(live - self._warm)
        self._warm |= set(self._chance.sample(others, min(len(others), WARM_LINKS_MAX - len(self._warm))))
        for address in sorted(self._warm - self._links.keys()):
            self._dial(address, self._loop.time())

    def _settle(self) -> None:
        """Make routes agree with what is wanted and known."""
        now_s = self._loop.time()
        addresses = {owner.address for owner in self._owners.values()}
        for address in self._dial_backoff.keys() - addresses - self._warm:
            del self._dial_backoff[address]
        for shard in sorted(self._wanted()):
            owner = self._owners.get(shard)
            if owner is None:
                continue
            route = self._routes.get(shard)
            if route is not None and owner.epoch > route.epoch:
                self._lose(shard)
                route = None
            if route is None:
                self._find(shard, owner, now_s)

    def _find(self, shard: int, owner: Owner, now_s: float) -> None:
        link = self._links.get(owner.address)
        if link is None:
            self._dial(owner.address, now_s)
            return
        gone = self._gone_backoff.get(shard)
        if link.closed or (gone is not None and now_s < gone.until_s):
            return
        self._routes[shard] = _Route(link, owner.epoch)
        if shard in self._lost_before:
            telemetry.gateway_takeovers_total.inc()
            log.info("shard_found_again", shard=shard, epoch=owner.epoch, worker=link.remote)
        self._events.route_found(shard)

    def _lose(self, shard: int) -> None:
        del self._routes[shard]
        self._lost_before.add(shard)
        self._events.route_lost(shard)

    def _dial(self, address: str, now_s: float) -> None:
        backoff = self._dial_backoff.get(address)
        if address in self._dials or (backoff is not None and now_s < backoff.until_s):
            return
        self._dials[address] = self._loop.create_task(self._open(address))

    async def _open(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            if not (host and port.isdecimal()):
                raise LinkError(f"{address!r} is not host:port")
            link = await connect(host, int(port), self._credentials, self, self._link_timeout_s)
        except LinkError as error:
            if address not in self._dial_backoff:
                log.warning("worker_unreachable", reason=str(error))
            self._dial_backoff.setdefault(address, Backoff(self._chance)).failed(self._loop.time())
        else:
            self._dial_backoff.pop(address, None)
            if not link.closed:
                self._links[address] = link
        finally:
            del self._dials[address]
        self.wake()

    def _pause_s(self) -> float:
        now_s = self._loop.time()
        missing = [shard for shard in self._wanted() if shard not in self._routes]
        if not missing:
            return POLL_S
        addresses = {self._owners[shard].address for shard in missing if shard in self._owners}
        due = [self._dial_backoff[address].until_s for address in addresses if address in self._dial_backoff]
        due += [self._gone_backoff[shard].until_s for shard in missing if shard in self._gone_backoff]
        return max(RETRY_S_MIN / 2, min([POLL_SEARCHING_S, *(until_s - now_s for until_s in due if until_s > now_s)]))
