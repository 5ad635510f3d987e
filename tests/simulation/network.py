"""An in-memory network under the simulated loop: `create_server` and `create_connection` work as on TCP, but every
delay, stall and reset is drawn from the seed.

As on TCP, bytes of one connection stay in order and arrive whole or the connection breaks; different connections
overtake each other. A stalled pair of processes loses nothing, it only waits (a black hole), until it heals or a side
gives up.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulation.loop import Process, SimulatedLoop, current_process

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


@dataclass
class Weather:
    """How the network behaves now. Delays in seconds; chances per piece of bytes."""

    delay_min_s: float = 0.0002
    delay_max_s: float = 0.003
    spike_chance: float = 0.0
    spike_max_s: float = 0.3
    reset_chance: float = 0.0


class Pipe(asyncio.Transport):
    """One end of a connection."""

    def __init__(
        self, network: Network, process: Process | None, protocol: asyncio.BaseProtocol, names: dict[str, Any]
    ) -> None:
        super().__init__(names)
        self.network = network
        self.process = process
        self.protocol = protocol
        self.peer: Pipe | None = None
        self.closed = False
        self.reading = True
        self._arrivals: list[bytes | None] = []
        self._next_arrival_s = 0.0

    def write(self, data: Any) -> None:
        if not self.closed and self.peer is not None:
            self.network.carry(self, bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(bytes(d) for d in list_of_data))

    def get_write_buffer_size(self) -> int:
        return self.network.in_flight(self)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Flow control is not simulated: in-flight bytes are seen by get_write_buffer_size."""

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.closed

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        for _ in range(len(self._arrivals)):
            self.network.deliver(self)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def close(self) -> None:
        self.network.close(self, reset=False)

    def abort(self) -> None:
        self.network.close(self, reset=True)


class Server(asyncio.AbstractServer):
    """A listening address."""

    def __init__(self, network: Network, address: tuple[str, int]) -> None:
        self._network = network
        self._address = address
        self.sockets = [_Socket(address)]

    def close(self) -> None:
        self._network.listeners.pop(self._address, None)

    async def wait_closed(self) -> None:
        return

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop

    async def start_serving(self) -> None:
        """It serves from the start."""

    async def serve_forever(self) -> None:
        await asyncio.Event().wait()

    def is_serving(self) -> bool:
        return self._address in self._network.listeners


@dataclass
class _Socket:
    address: tuple[str, int]

    def getsockname(self) -> tuple[str, int]:
        return self.address


class Network:
    """All connections of a simulation."""

    def __init__(self, loop: SimulatedLoop, chance: random.Random) -> None:
        self.loop = loop
        self._chance = chance
        self.weather = Weather()
        self.listeners: dict[tuple[str, int], tuple[Process | None, ProtocolFactory]] = {}
        self.pipes: list[Pipe] = []
        self.stalled: set[frozenset[str]] = set()
        self.resets = 0
        self._next_port = 20_000
        loop.create_server = self._create_server  # type: ignore[assignment,method-assign]
        loop.create_connection = self._create_connection  # type: ignore[assignment,method-assign]

    # ------------------------------------------------------------ what the loop offers

    async def _create_server(self, factory: ProtocolFactory, host: str = "", port: int = 0, **_: Any) -> Server:
        if not port:
            port, self._next_port = self._next_port, self._next_port + 1
        address = (host or "127.0.0.1", port)
        if address in self.listeners:
            raise OSError(98, f"address in use: {address}")
        process = current_process()
        self.listeners[address] = (process, factory)
        if process is not None:
            process.on_kill.append(lambda: self._drop_process(process))
        return Server(self, address)

    async def _create_connection(
        self, factory: ProtocolFactory, host: str = "", port: int = 0, **_: Any
    ) -> tuple[Pipe, asyncio.BaseProtocol]:
        await asyncio.sleep(self._delay_s())
        client = current_process()
        there = self.listeners.get((host, port))
        if there is None or (there[0] is not None and not there[0].alive):
            raise ConnectionRefusedError(111, f"nobody listens at {host}:{port}")
        while self._is_stalled(client, there[0]):
            await asyncio.sleep(0.05)
        server, server_factory = there
        near = Pipe(self, client, factory(), {"peername": (host, port), "sockname": ("127.0.0.1", 1)})
        far_protocol = server.run(server_factory) if server is not None else server_factory()
        far = Pipe(self, server, far_protocol, {"peername": ("127.0.0.1", 1), "sockname": (host, port)})
        near.peer, far.peer = far, near
        self.pipes += [near, far]
        if client is not None:
            client.on_kill.append(lambda: self._drop_process(client))
        self._call(far, far.protocol.connection_made, far)
        near.protocol.connection_made(near)
        return near, near.protocol

    # ------------------------------------------------------------ bytes on their way

    def carry(self, source: Pipe, data: bytes) -> None:
        """Send bytes to the other end, after a delay and in order; or break the connection instead."""
        if self.weather.reset_chance and self._chance.random() < self.weather.reset_chance:
            self.resets += 1
            self.close(source, reset=True)
            return
        target = source.peer
        assert target is not None
        target._arrivals.append(data)
        self._schedule(target)

    def in_flight(self, source: Pipe) -> int:
        """Bytes written and not yet delivered."""
        return sum(len(d) for d in source.peer._arrivals if d is not None) if source.peer else 0

    def deliver(self, target: Pipe) -> None:
        """Hand over what has arrived, unless the reader is paused or the pair is stalled."""
        if target.closed or not target._arrivals or not target.reading:
            return
        peer = target.peer
        if self._is_stalled(target.process, peer.process if peer else None):
            self.loop.call_later(0.05, self.deliver, target, context=contextvars.Context())
            return
        data = target._arrivals.pop(0)
        if data is None:
            target.closed = True
            self._call(target, target.protocol.connection_lost, None)
        else:
            self._call(target, _feed, target, data)

    def close(self, pipe: Pipe, *, reset: bool) -> None:
        """Close one end; the other learns of it after what is on its way (at once on a reset)."""
        if pipe.closed:
            return
        pipe.closed = True
        error = ConnectionResetError("simulated reset") if reset else None
        self._call(pipe, pipe.protocol.connection_lost, error)
        peer = pipe.peer
        if peer is not None and not peer.closed:
            if reset:
                peer._arrivals.clear()
            peer._arrivals.append(None)
            self._schedule(peer)

    def reset_some(self, share: float) -> int:
        """Break this share of all connections now. Returns how many."""
        open_pipes = [p for p in self.pipes if not p.closed]
        chosen = [p for p in open_pipes if self._chance.random() < share / 2]
        for pipe in chosen:
            self.close(pipe, reset=True)
        self.resets += len(chosen)
        self.pipes = [p for p in self.pipes if not p.closed]
        return len(chosen)

    def stall(self, a: Process, b: Process) -> None:
        """Nothing passes between two processes until `heal`."""
        self.stalled.add(frozenset((a.name, b.name)))

    def heal(self) -> None:
        """All pairs talk again."""
        self.stalled.clear()

    def _schedule(self, target: Pipe) -> None:
        target._next_arrival_s = max(self.loop.time() + self._delay_s(), target._next_arrival_s + 1e-6)
        # In nobody's context: bytes on their way arrive although their sender was killed.
        self.loop.call_at(target._next_arrival_s, self.deliver, target, context=contextvars.Context())

    def _delay_s(self) -> float:
        weather = self.weather
        if weather.spike_chance and self._chance.random() < weather.spike_chance:
            return self._chance.uniform(weather.delay_max_s, weather.spike_max_s)
        return self._chance.uniform(weather.delay_min_s, weather.delay_max_s)

    def _is_stalled(self, a: Process | None, b: Process | None) -> bool:
        return bool(self.stalled) and a is not None and b is not None and frozenset((a.name, b.name)) in self.stalled

    def _call(self, pipe: Pipe, callback: Callable[..., None], *args: Any) -> None:
        context = pipe.process.context() if pipe.process is not None else None
        self.loop.call_soon(callback, *args, context=context)

    def _drop_process(self, process: Process) -> None:
        for address in [a for a, (p, _) in self.listeners.items() if p is process]:
            del self.listeners[address]
        for pipe in [p for p in self.pipes if p.process is process and not p.closed]:
            pipe.closed = True
            if pipe.peer is not None and not pipe.peer.closed:
                pipe.peer._arrivals.append(None)
                self._schedule(pipe.peer)
        self.pipes = [p for p in self.pipes if not p.closed]


def _feed(pipe: Pipe, data: bytes) -> None:
    """Hand bytes to a protocol of either kind, as asyncio's own transports do."""
    protocol = pipe.protocol
    if isinstance(protocol, asyncio.Protocol):
        protocol.data_received(data)
        return
    assert isinstance(protocol, asyncio.BufferedProtocol)
    while data and not pipe.closed:
        room = memoryview(protocol.get_buffer(len(data)))
        taken = min(len(room), len(data))
        room[:taken] = data[:taken]
        protocol.buffer_updated(taken)
        data = data[taken:]
