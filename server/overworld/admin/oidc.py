"""Tokens of an OpenID Connect issuer (Microsoft Entra ID) for the admin API.

An issuer names its keys (JWKS) in its discovery document (OpenID Connect Discovery 1.0, section 4; RFC 7517). Both are
fetched when a token first needs them and kept; a token that names an unknown key has them fetched again, but not more
often than `GAP_S` apart, whatever is sent. An issuer that does not answer leaves the known keys good for `STALE_S`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
import structlog

from overworld.admin.rank import Caller, Rank
from overworld.errors import AdminError, SettingsError
from overworld.http_answers import read_whole

log = structlog.get_logger(__name__)

ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
"""The one algorithm a key of each kind is good for: a token never chooses how it is checked."""
RSA_BITS_MIN = 2048
FRESH_S = 3600.0
STALE_S = 24 * 3600.0
GAP_S = 30.0
FETCH_TIMEOUT_S = 5.0
"""For the discovery document and the keys together."""
DOCUMENT_BYTES_MAX = 256 << 10
KEYS_MAX = 100
TOKEN_CHARS_MAX = 8000
"""What fits in a header of the HTTP server's."""
NAME_CHARS_MAX = 90
LEEWAY_S = 30.0
ROLES = {rank.name.lower(): rank for rank in Rank if rank}
"""Values of the `roles` claim, which are the app roles of the registration."""


@dataclass(frozen=True)
class Issued:
    """What a token must say. `issuer`: an https URL, exactly as `iss` has it; plain http on loopback alone."""

    issuer: str
    audience: str

    def __post_init__(self) -> None:
        if not _is_safe(self.issuer):
            raise SettingsError("OVERWORLD_ADMIN_OIDC_ISSUER: an https URL is required")
        if not self.audience:
            raise SettingsError("OVERWORLD_ADMIN_OIDC_AUDIENCE is required with OVERWORLD_ADMIN_OIDC_ISSUER")


class Oidc:
    """Checks tokens of one issuer. `now_s`: monotonic; `gap_s`: as `GAP_S`."""

    def __init__(self, issued: Issued, now_s: Callable[[], float] = time.monotonic, gap_s: float = GAP_S) -> None:
        self._issued = issued
        self._now_s = now_s
        self._gap_s = gap_s
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_s = self._tried_s = float("-inf")
        self._fetching = asyncio.Lock()

    async def check(self, token: str, wall_s: float) -> Caller:
        """Whose token it is, with the highest role that it has. `wall_s`: since 1970. Raises AdminError 401 where it is
        no good, 503 where the issuer's keys are not to be had.
        """
        try:
            header = jwt.get_unverified_header(token) if 0 < len(token) <= TOKEN_CHARS_MAX else {}
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            header = {}
        name = header.get("kid")
        if header.get("alg") not in ALGORITHMS.values() or not isinstance(name, str):
            raise AdminError(401, "not a token of the issuer")
        key = await self._key(name)
        if key is None:
            raise AdminError(401, "signed with a key that the issuer does not have")
        try:
            # Whatever the token says, the key says how; times are judged by the caller's clock, below.
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._issued.audience,
                issuer=self._issued.issuer,
                options={
                    "require": ["aud", "exp", "iss", "sub"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
            raise AdminError(401, f"no good: {type(error).__name__}") from error
        _check_times(claims, wall_s)
        return Caller(_who(claims), _rank(claims.get("roles")))

    async def _key(self, name: str) -> jwt.PyJWK | None:
        if self._wants(name) or (name not in self._keys and self._fetching.locked()):
            async with self._fetching:
                # Somebody else may have fetched them meanwhile.
                if self._wants(name):
                    await self._fetch()
        if self._now_s() - self._fetched_s > STALE_S:
            raise AdminError(503, "the issuer of tokens does not answer")
        return self._keys.get(name)

    def _wants(self, name: str) -> bool:
        now_s = self._now_s()
        old = now_s - self._fetched_s > FRESH_S
        return (old or name not in self._keys) and now_s - self._tried_s >= self._gap_s

    async def _fetch(self) -> None:
        self._tried_s = self._now_s()
        issuer = self._issued.issuer
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S), aiohttp.ClientSession() as session:
                about = await _document(session, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
                place = about.get("jwks_uri")
                if about.get("issuer") != issuer or not isinstance(place, str) or not _is_safe(place):
                    raise ValueError("the discovery document is another issuer's, or names no https address of keys")
                keys = _keys_of(await _document(session, place))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("admin_issuer_failed", issuer=issuer, error=str(error) or type(error).__name__)
            return
        self._keys = keys
        self._fetched_s = self._now_s()
        log.info("admin_issuer_keys", issuer=issuer, keys=len(keys))


async def _document(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """A JSON object. Raises aiohttp.ClientError, ValueError."""
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise ValueError(f"{url} answers {answer.status}")
        body = await read_whole(answer, DOCUMENT_BYTES_MAX)
    try:
        document = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(document, dict):
        raise ValueError(f"{url} is not a JSON object")
    return document


def _keys_of(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The signing keys by name; those of other kinds are left out. Raises ValueError where none is left."""
    listed = document.get("keys")
    keys = {}
    for entry in listed[:KEYS_MAX] if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or not isinstance(entry.get("kid"), str):
            continue
        algorithm = ALGORITHMS.get(str(entry.get("kty")))
        if algorithm is None or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm=algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        curve = getattr(key.key, "curve", None)
        if (key.key.key_size >= RSA_BITS_MIN) if curve is None else (curve.name == "secp256r1"):
            keys[entry["kid"]] = key
    if not keys:
        raise ValueError("the issuer has no key that is good for RS256 or ES256")
    return keys


def _check_times(claims: Mapping[str, Any], wall_s: float) -> None:
    """Raises AdminError 401."""
    expires_s, begins_s = claims["exp"], claims.get("nbf", 0)
    if type(expires_s) not in (int, float) or type(begins_s) not in (int, float):
        raise AdminError(401, "times that are no numbers")
    if not wall_s < expires_s + LEEWAY_S:
        raise AdminError(401, "expired")
    if not begins_s <= wall_s + LEEWAY_S:
        raise AdminError(401, "not good yet")


def _who(claims: Mapping[str, Any]) -> str:
    """The subject, and the application that asked in its name."""
    subject, application = claims["sub"], claims.get("azp", claims.get("appid", ""))
    if not isinstance(subject, str) or not subject or not isinstance(application, str):
        raise AdminError(401, "no subject")
    shown = subject[:NAME_CHARS_MAX]
    return f"{shown} (app {application[:NAME_CHARS_MAX]})" if application else shown


def _rank(roles: object) -> Rank:
    listed = roles if isinstance(roles, list) else []
    return max((ROLES[role] for role in listed if isinstance(role, str) and role in ROLES), default=Rank.NOBODY)


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme == "http":
        return parts.hostname == "127.0.0.1"
    return parts.scheme == "https" and bool(parts.hostname)
