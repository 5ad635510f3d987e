"""A websocket client made by hand, so that it can break every rule."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import struct
from collections.abc import Callable

from overworld.gateway.welcome import PROTOCOL
from overworld.wire.v1 import client_pb2 as pb
from overworld.world.grid import Grid
from tests.gateway.model import ModelClient

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
WAIT_S = 15.0


def frame_bytes(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One client frame, with the shortest length encoding."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes((first, mask_bit | len(payload)))
    elif len(payload) < 1 << 16:
        head = bytes((first, mask_bit | 126)) + struct.pack(">H", len(payload))
    else:
        head = bytes((first, mask_bit | 127)) + struct.pack(">Q", len(payload))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def upgrade(port: int, *, path: str = "/play", headers: list[str] | None = None, drop: tuple[str, ...] = ()) -> bytes:
    """An upgrade request; `drop` leaves out headers, `headers` adds lines."""
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
    }
    shown = [f"{name}: {value}" for name, value in lines.items() if name not in drop] + (headers or [])
    return "\r\n".join([f"GET {path} HTTP/1.1", *shown, "", ""]).encode()


class RawClient:
    """One TCP connection to the game socket."""

    def __init__(self, grid: Grid | None = None) -> None:
        self.model = ModelClient(grid) if grid is not None else None
        self.frames: list[pb.Frame] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.status = 0
        self.response = b""
        self.close_code: int | None = None
        self.close_reason = ""
        self.ended = False
        self.error: BaseException | None = None
        self.answering = True
        """False leaves pings unanswered."""
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._reading: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ opening

    async def connect(
        self, port: int, *, receive_buffer_bytes: int = 0, tls: ssl.SSLContext | None = None
    ) -> RawClient:
        """TCP only, and what `tls` says."""
        import socket

        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        limit = max(4096, receive_buffer_bytes)
        self._reader, self._writer = await asyncio.open_connection(
            sock=sock, limit=limit, ssl=tls, server_hostname="localhost" if tls is not None else None
        )
        return self

    async def request(self, data: bytes) -> int:
        """Send a request and read the response's head. Returns its status; 0 where there was none."""
        self._writer.write(data)
        try:
            async with asyncio.timeout(WAIT_S):
                self.response = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.response = getattr(error, "partial", b"")
            return 0
        self.status = int(self.response.split(b" ", 2)[1])
        return self.status

    async def open(
        self, port: int, *, receive_buffer_bytes: int = 0, reading: bool = True, tls: ssl.SSLContext | None = None
    ) -> RawClient:
        """Upgrade, and read from then on."""
        await self.connect(port, receive_buffer_bytes=receive_buffer_bytes, tls=tls)
        assert await self.request(upgrade(port)) == 101, self.response
        if reading:
            self.read()
        return self

    def read(self) -> None:
        """Begin to read."""
        self._reading = asyncio.get_running_loop().create_task(self._read())

    # ------------------------------------------------------------ sending

    def raw(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    def frame(self, opcode: int, payload: bytes = b"", **how: bool | int) -> None:
        self.raw(frame_bytes(opcode, payload, **how))  # type: ignore[arg-type]

    def send(self, message: pb.ClientMessage) -> None:
        self.frame(BINARY, message.SerializeToString())

    def hello(self, token: str, *, title: str = "meadow", protocol: int = PROTOCOL, resume: bytes = b"") -> None:
        hello = pb.Hello(protocol=protocol, title=title, token=token, resume=resume, client="raw")
        self.send(pb.ClientMessage(hello=hello))

    def input(self, seq: int, *values: int, kind: int = 0, seen_tick: int = 0) -> None:
        self.send(pb.ClientMessage(input=pb.Input(seq=seq, kind=kind, values=values, seen_tick=seen_tick)))

    def abort(self) -> None:
        """Vanish."""
        self._writer.transport.abort()

    async def end(self) -> None:
        """Close TCP and stop reading."""
        self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        with contextlib.suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), WAIT_S)

    # ------------------------------------------------------------ waiting

    async def until(self, condition: Callable[[], bool], what: str = "") -> None:
        """Wait until something holds; fails where the socket ended or the wait is too long."""
        deadline_s = asyncio.get_running_loop().time() + WAIT_S
        while not condition():
            if self.error is not None:
                raise AssertionError(f"the client broke: {self.error!r}") from self.error
            late = asyncio.get_running_loop().time() > deadline_s
            assert not late, f"waited in vain: {what} (closed: {self.close_code} {self.close_reason!r})"
            await asyncio.sleep(0.003)

    async def closed(self) -> int:
        """Wait for the end. Returns the close code, 0 where the server gave none."""
        await self.until(lambda: self.ended, "the end of the socket")
        return self.close_code or 0

    async def welcomed(self) -> pb.Welcome:
        """Wait for the Welcome."""
        await self.until(lambda: bool(self.welcomes), "a welcome")
        return self.welcomes[-1]

    @property
    def welcomes(self) -> list[pb.Welcome]:
        return [welcome for frame in self.frames for welcome in frame.welcomes]

    @property
    def notices(self) -> list[int]:
        return [notice.code for frame in self.frames for notice in frame.notices]

    @property
    def tick_interval_us(self) -> int:
        """Of the newest tick; 0: as usual."""
        heads = [head for frame in self.frames for head in frame.heads]
        return heads[-1].tick_interval_us if heads else 0

    @property
    def acked(self) -> int:
        return max((ack.seq for frame in self.frames for ack in frame.acks), default=0)

    # ------------------------------------------------------------ reading

    async def _read(self) -> None:
        try:
            while True:
                opcode, payload = await self._read_frame()
                self._take(opcode, payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except AssertionError as error:
            self.error = error
        finally:
            self.ended = True

    async def _read_frame(self) -> tuple[int, bytes]:
        first, second = await self._reader.readexactly(2)
        assert first & 0x80, "the server does not fragment"
        assert not first & 0x70, "the server sets no reserved bits"
        assert not second & 0x80, "the server does not mask"
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", await self._reader.readexactly(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", await self._reader.readexactly(8))[0]
        return first & 0x0F, await self._reader.readexactly(size)

    def _take(self, opcode: int, payload: bytes) -> None:
        match opcode:
            case 2:
                if self.model is not None:
                    self.model.take(payload)
                self.frames.append(pb.Frame.FromString(payload))
            case 8:
                self.close_code = struct.unpack(">H", payload[:2])[0] if payload else None
                self.close_reason = payload[2:].decode()
                assert len(payload) <= 125
                self.frame(CLOSE, payload[:2])
            case 9:
                self.pings.append(payload)
                if self.answering:
                    self.frame(PONG, payload)
            case 10:
                self.pongs.append(payload)
            case _:
                raise AssertionError(f"opcode {opcode}")
