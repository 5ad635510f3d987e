"""TLS of the gateway's public ports, where no proxy in front of them ends it: certificates that are reread, and the
door that a connection passes before it is a game socket.

The event loop's own TLS servers tell of a connection only when its handshake is done: half-open ones could not be
counted. So connections are accepted here, counted as any other, and encrypted then, each in a time of its own. (To
upgrade a plain connection, with `start_tls`, would not do: uvloop reads before it can be stopped.)
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import structlog
from cryptography import x509

from overworld import telemetry
from overworld.errors import SettingsError

log = structlog.get_logger(__name__)

FILE_BYTES_MAX = 256 << 10
_ACCEPT_AGAIN_S = 0.5


class PlayersTls:
    """A certificate and its key, reread when their files change. Connections keep what they began with."""

    def __init__(self, certificate_file: str, key_file: str) -> None:
        """PEM files: the certificate with what signed it, and its key, which has no password. Raises SettingsError."""
        self._files = (Path(certificate_file), Path(key_file))
        self._seen = b""
        try:
            self._current, self._seen = self._read()
        except (OSError, ValueError) as error:
            raise SettingsError(f"OVERWORLD_GATEWAY_TLS_CERTIFICATE, _KEY: {error}") from error
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """For servers. It has no certificate of its own: each handshake is handed to the newest one's context."""
        # Asked at every handshake, whether or not the client names a host.
        self.context.sni_callback = self._hand_over

    def refresh(self) -> bool:
        """Look at the files; true where what they hold is new and in use now. What cannot be used is logged, counted
        and left alone: handshakes go on with what was read before.
        """
        try:
            context, seen = self._read()
        except (OSError, ValueError) as error:
            telemetry.gateway_certificate_reads_total.labels("failed").inc()
            log.warning("certificate_not_read", reason=str(error))
            return False
        if seen == self._seen:
            return False
        self._current, self._seen = context, seen
        telemetry.gateway_certificate_reads_total.labels("new").inc()
        log.info("certificate_changed", file=str(self._files[0]))
        return True

    def _hand_over(self, handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:  # noqa: ARG002
        handshake.context = self._current

    def _read(self) -> tuple[ssl.SSLContext, bytes]:
        """(a context, a digest of what it was made of). Raises OSError, ValueError."""
        texts = []
        for file in self._files:
            with file.open("rb") as opened:
                texts.append(opened.read(FILE_BYTES_MAX + 1))
            if len(texts[-1]) > FILE_BYTES_MAX:
                raise ValueError(f"{file} has more than {FILE_BYTES_MAX} bytes")
        seen = hashlib.sha256(b"%d|" % len(texts[0]) + texts[0] + texts[1]).digest()
        if seen == self._seen:
            return self._current, seen
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # From copies: the files may be changed between two looks at them, and belong together only as they were read.
        with tempfile.TemporaryDirectory() as folder:
            copies = [Path(folder) / name for name in ("certificate", "key")]
            for copy, text in zip(copies, texts, strict=True):
                copy.touch(mode=0o600)
                copy.write_bytes(text)
            try:
                context.load_cert_chain(copies[0], copies[1], password=_no_password)
            except ssl.SSLError as error:
                raise ValueError(
                    f"{' and '.join(map(str, self._files))} are no certificate and its key ({error})"
                ) from error
        expires = x509.load_pem_x509_certificate(texts[0]).not_valid_after_utc
        telemetry.gateway_certificate_expires_seconds.set(expires.timestamp())
        return context, seen


def _no_password() -> str:
    raise ValueError("the key has a password; give one without")


class Porter(Protocol):
    """Who counts connections that are not game sockets yet: `gateway.socket.SocketServer`."""

    def may_greet(self, address: str) -> bool:
        """Whether one more may come in."""

    def greet(self, accepted: Any, address: str) -> None:
        """One came in."""

    def greeted(self, address: str) -> None:
        """It is done with its handshake."""

    def gone(self, accepted: Any, address: str) -> None:
        """It is no more."""


class TlsDoor:
    """One connection while it shakes hands. It is counted until its protocol is told of it, or it is given up."""

    def __init__(self, porter: Porter, address: str) -> None:
        self._porter = porter
        self._address = address
        self._counted = True
        self.task: asyncio.Task[None] | None = None
        porter.greet(self, address)

    def passed(self) -> None:
        """From here on the protocol counts for itself."""
        if self._counted:
            self._counted = False
            self._porter.greeted(self._address)
            self._porter.gone(self, self._address)

    def abort(self) -> None:
        """Tear it down without a word."""
        if self.task is not None:
            self.task.cancel()


class TlsListener:
    """A listening socket whose connections become `inside(passed)`, a protocol, once TLS stands. `passed` is to be
    called when the protocol is told of its connection.
    """

    def __init__(
        self,
        porter: Porter,
        tls: PlayersTls,
        handshake_s: float,
        inside: Callable[[Callable[[], None]], asyncio.BaseProtocol],
    ) -> None:
        self._porter = porter
        self._tls = tls
        self._handshake_s = handshake_s
        self._inside = inside
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    def listen(self, host: str, port: int, backlog: int) -> int:
        """Accept from now on; returns the port. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=backlog)
        self._socket.setblocking(False)
        self._task = asyncio.get_running_loop().create_task(self._accept(self._socket))
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Listen no more; what was accepted stays."""
        if self._task is not None:
            self._task.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(listening)
            except OSError as error:
                # Out of descriptors, as a rule; or a client that is gone already.
                log.warning("accept_failed", reason=str(error))
                await asyncio.sleep(_ACCEPT_AGAIN_S)
                continue
            address = str(peer[0])
            if self._porter.may_greet(address):
                door = TlsDoor(self._porter, address)
                door.task = loop.create_task(self._enter(accepted, door))
            else:
                # There is no way to say so before TLS stands, and no room for that.
                telemetry.gateway_refusals_total.labels("busy").inc()
                accepted.close()

    async def _enter(self, accepted: socket.socket, door: TlsDoor) -> None:
        try:
            async with asyncio.timeout(self._handshake_s):
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: self._inside(door.passed),
                    accepted,
                    ssl=self._tls.context,
                    ssl_handshake_timeout=self._handshake_s,
                )
        except (OSError, ssl.SSLError):
            telemetry.gateway_refusals_total.labels("tls").inc()
        finally:
            door.passed()
