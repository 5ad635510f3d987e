"""Where players without an account get their tokens: from a gateway's HTTP port, or made from the development key.

A token is a JWT and good for one login. Only who holds the cluster's key can make one, so `mint_token` is for one's own
machine: bots and tests.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt

from overworld.client.connection import TokenSource
from overworld.http_answers import read_whole

GUEST_PATH = "/api/guest"
_ANSWER_BYTES_MAX = 16 * 1024
_TIMEOUT_S = 10.0
_ISSUER = "overworld-guest"
_KEY_PURPOSE = b"overworld key 1|guest token"
_TOKEN_LIFE_S = 30


@dataclass(frozen=True)
class Guest:
    """A guest's token, the pass with which the same guest gets the next one, and where to play what."""

    token: str = field(repr=False)
    guest_pass: str = field(repr=False)
    title: str
    urls: tuple[str, ...]


async def ask_guest(http_url: str, guest_pass: str = "", *, timeout_s: float = _TIMEOUT_S) -> Guest:
    """A token from `POST /api/guest` of a gateway's HTTP port ("http://host:port"); a new guest without a pass.

    Raises ConnectionError with the server's answer where it refuses, OSError or TimeoutError where it cannot be
    reached.
    """
    url = http_url.rstrip("/") + GUEST_PATH
    asked = {"pass": guest_pass} if guest_pass else {}
    try:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.post(url, json=asked) as answer:
            body = await read_whole(answer, _ANSWER_BYTES_MAX)
        if answer.status != 200:
            raise ConnectionError(f"{url} answered {answer.status}: {body[:200].decode(errors='replace')}")
        return _guest_of(url, json.loads(body))
    except (aiohttp.ClientError, ValueError) as error:
        raise ConnectionError(f"{url}: {error!r}") from error


def _guest_of(url: str, answer: Any) -> Guest:
    answer = answer if isinstance(answer, dict) else {}
    token, guest_pass, title, urls = (answer.get(name) for name in ("token", "pass", "title", "urls"))
    texts = [token, guest_pass, title, *(urls if isinstance(urls, list) else [None])]
    if not all(isinstance(text, str) and text for text in texts):
        raise ConnectionError(f"{url} answered without a token, a pass, a title or game sockets")
    return Guest(token, guest_pass, title, tuple(urls))


def mint_token(cluster_key: bytes, world: str, title: str, subject: str, *, life_s: float = _TOKEN_LIFE_S) -> str:
    """A guest's token as a gateway of this cluster makes it. The same `subject` is the same player."""
    now = int(time.time())
    claims = {
        "iss": _ISSUER,
        "aud": f"{world}/{title}",
        "sub": subject,
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + int(life_s),
    }
    return jwt.encode(claims, hmac.new(cluster_key, _KEY_PURPOSE, hashlib.sha256).digest(), algorithm="HS256")


@dataclass(frozen=True)
class Tokens:
    """Where many players' tokens come from: gateways' HTTP ports (`guest_urls`), or the cluster's key.

    With the key, `name` and a player's number make its account: the same ones play again next time.
    """

    guest_urls: tuple[str, ...] = ()
    cluster_key: bytes = field(default=b"", repr=False)
    world: str = "main"
    title: str = ""
    name: str = "bot"

    def source(self, number: int) -> TokenSource:
        """The token source of the player with this number. Every call is for the same account."""
        if self.cluster_key:
            return lambda: self._mint(number)
        return _Asking(self.guest_urls, number)

    async def _mint(self, number: int) -> str:
        return mint_token(self.cluster_key, self.world, self.title, f"{self.name}-{number}")


class _Asking:
    """Asks one gateway after another, as the guest it was the first time."""

    def __init__(self, urls: tuple[str, ...], turn: int) -> None:
        self._urls = urls
        self._turn = turn
        self._pass = ""

    async def __call__(self) -> str:
        url = self._urls[self._turn % len(self._urls)]
        self._turn += 1
        guest = await ask_guest(url, self._pass)
        self._pass = guest.guest_pass
        return guest.token
