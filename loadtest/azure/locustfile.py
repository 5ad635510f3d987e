"""Overworld under Azure Load Testing (or plain Locust): one flat file, for every engine gets its files in one folder.

Each engine runs by itself (Locust's LocalRunner) and knows nothing of the others, so players are named after a number
that an engine draws at its start: no two engines play the same account. `client_pb2.py` lies beside this file; it is
server/overworld/wire/v1/client_pb2.py as it is.

Environment: LOCUST_HOST, a gateway's HTTP address (https://...), whose guest login says where to play; or
OVERWORLD_GATEWAY, a game socket (wss://.../play), with OVERWORLD_CLUSTER_KEY, OVERWORLD_TITLE and OVERWORLD_WORLD.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import random
import secrets
import time
from collections import deque
from typing import Any

import client_pb2 as pb
import gevent
import jwt
import requests
import websocket
from locust import User, events, task

ENGINE = secrets.token_hex(8)
"""Drawn by each engine: what makes its players' names its own."""
PLAYERS = itertools.count()
TIMEOUT_S = 10.0
SILENCE_S = 15.0
PING_S = 5.0
UNACKED_MAX = 32
WAIT_S = (0.5, 1.0)


def token_of_key(key: str, number: int) -> tuple[str, str, str]:
    """(token, title, game socket) with the cluster's key."""
    title, world = os.environ["OVERWORLD_TITLE"], os.environ.get("OVERWORLD_WORLD", "main")
    now = int(time.time())
    claims = {
        "iss": "overworld-guest", "aud": f"{world}/{title}", "sub": f"azure-{ENGINE}-{number}",
        "jti": secrets.token_urlsafe(16), "iat": now, "exp": now + 30,
    }  # fmt: skip
    signer = hmac.new(key.encode(), b"overworld key 1|guest token", hashlib.sha256).digest()
    return jwt.encode(claims, signer, algorithm="HS256"), title, os.environ["OVERWORLD_GATEWAY"]


def token_of_guest(host: str) -> tuple[str, str, str]:
    """(token, title, game socket) of a new guest."""
    answer = requests.post(f"{host.rstrip('/')}/api/guest", json={}, timeout=TIMEOUT_S)
    answer.raise_for_status()
    guest = answer.json()
    return guest["token"], guest["title"], random.choice(guest["urls"])


class Player(User):
    """Joins, steers at random as people do, and times what comes back."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.number = next(PLAYERS)
        self.chance = random.Random(f"{ENGINE}:{self.number}")
        self.socket: websocket.WebSocket | None = None
        self.inputs: list[tuple[int, list[tuple[int, int]]]] = []
        self.sent: deque[tuple[int, float]] = deque()
        self.seq = 0
        self.highest: dict[int, tuple[int, int]] = {}
        self.frame_at: dict[int, float] = {}
        self.home: int | None = None
        self.reader: gevent.Greenlet | None = None

    def wait_time(self) -> float:
        """Between two inputs."""
        return self.chance.uniform(*WAIT_S)

    def on_start(self) -> None:
        """Log in and wait for the Welcome."""
        began = time.monotonic()
        try:
            self._join()
        except (OSError, ValueError, KeyError, requests.RequestException, websocket.WebSocketException) as error:
            self._told("connect", began, 0, error)
            gevent.sleep(1.0 + self.chance.random())
            return
        self._told("connect", began, 0)
        self.reader = gevent.spawn(self._read)

    def on_stop(self) -> None:
        """Say goodbye."""
        if self.reader is not None:
            self.reader.kill()
        self._leave()

    @task
    def steer(self) -> None:
        """One input; joins again where the socket is gone."""
        if self.socket is None:
            self.on_start()
            return
        while self.sent and time.monotonic() - self.sent[0][1] > TIMEOUT_S:
            number, at = self.sent.popleft()
            self._told("input to ack", at, 0, TimeoutError(f"input {number} was not acknowledged"))
        if not self.inputs or len(self.sent) >= UNACKED_MAX:
            return
        kind, fields = self.chance.choice(self.inputs)
        self.seq += 1
        values = [self.chance.randint(low, high) for low, high in fields]
        self.sent.append((self.seq, time.monotonic()))
        self._send(pb.ClientMessage(input=pb.Input(seq=self.seq, kind=kind, values=values)))

    # ------------------------------------------------------------ the session

    def _join(self) -> None:
        key = os.environ.get("OVERWORLD_CLUSTER_KEY", "")
        token, title, url = token_of_key(key, self.number) if key else token_of_guest(self.host or "")
        socket = websocket.create_connection(url, timeout=TIMEOUT_S, suppress_origin=True)
        hello = pb.Hello(protocol=1, title=title, token=token, client="overworld-locust")
        socket.send_binary(pb.ClientMessage(hello=hello).SerializeToString())
        while True:
            frame = pb.Frame.FromString(_binary(socket))
            if frame.welcomes:
                break
        welcome = frame.welcomes[0]
        self.inputs = [
            (number, [(field.min, field.max) for field in kind.fields])
            for number, kind in enumerate(welcome.inputs)
            if kind.fields
        ]
        self.seq = welcome.last_seq
        self.sent.clear()
        self.highest.clear()
        self.frame_at.clear()
        self.home = None
        socket.settimeout(SILENCE_S)
        self.socket = socket

    def _read(self) -> None:
        """Until the socket is gone."""
        socket, pinged = self.socket, time.monotonic()
        assert socket is not None
        try:
            while True:
                data = _binary(socket)
                self._take(pb.Frame.FromString(data), len(data))
                if time.monotonic() - pinged > PING_S:
                    pinged = time.monotonic()
                    self._send(pb.ClientMessage(ping=pb.Ping(nonce=1)))
        except (OSError, ValueError, websocket.WebSocketException) as error:
            self._told("socket", time.monotonic(), 0, error)
            self.socket = None
            socket.shutdown()

    def _take(self, frame: pb.Frame, size: int) -> None:
        now = time.monotonic()
        for ack in frame.acks:
            self.home = ack.shard
            if ack.seq > self.seq:
                self._told("input to ack", now, 0, ValueError(f"input {ack.seq} is acknowledged and was never sent"))
            while self.sent and self.sent[0][0] <= ack.seq:
                self._told("input to ack", self.sent.popleft()[1], 0)
        for head in frame.heads:
            at, before = (head.epoch, head.tick), self.highest.get(head.shard)
            if before is not None and at <= before:
                self._told("frame interval", now, size, ValueError(f"shard {head.shard}: {at} after {before}"))
                continue
            self.highest[head.shard] = at
            if head.shard in self.frame_at and self.home in (None, head.shard):
                self._told("frame interval", self.frame_at[head.shard], size)
            self.frame_at[head.shard] = now

    def _send(self, message: pb.ClientMessage) -> None:
        if self.socket is not None:
            try:
                self.socket.send_binary(message.SerializeToString())
            except (OSError, websocket.WebSocketException) as error:
                self._told("socket", time.monotonic(), 0, error)
                self.socket = None

    def _leave(self) -> None:
        if self.socket is not None:
            self._send(pb.ClientMessage(bye=pb.Bye()))
        if self.socket is not None:
            self.socket.shutdown()
            self.socket = None

    def _told(self, name: str, began: float, size: int, error: Exception | None = None) -> None:
        events.request.fire(
            request_type="game", name=name, response_time=1000 * (time.monotonic() - began), response_length=size,
            exception=error, context={"player": f"{ENGINE}-{self.number}"},
        )  # fmt: skip


def _binary(socket: websocket.WebSocket) -> bytes:
    """The next binary message. Raises ConnectionError where the server closes."""
    while True:
        code, data = socket.recv_data()
        if code == websocket.ABNF.OPCODE_BINARY:
            return bytes(data)
        if code == websocket.ABNF.OPCODE_CLOSE:
            raise ConnectionError(f"closed {int.from_bytes(data[:2], 'big')} {data[2:].decode(errors='replace')}")
