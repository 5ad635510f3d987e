"""Who a client is: login tokens (JWT) and resume tokens.

Every fault of a login token gets the same answer, 4003, and every fault of a resume token 4008: a stranger learns
nothing from trying. Times are arguments, in seconds since 1970, because tokens travel between machines.

Login token, as guests get it: HS256 with a key made from the cluster key; claims iss, aud = "world/title", sub, jti,
iat, exp.

Resume token, 77 bytes, little-endian:

| bytes | what |
|---|---|
| 1 | version, 1 |
| 4 | world: first bytes of blake2b("world/title") |
| 8 | session, int64 |
| 8 | player, int64 |
| 8 | issued, unsigned seconds |
| 8 | good until, unsigned seconds |
| 8 | random, so that no two are alike |
| 32 | HMAC-SHA256 of all before, under a key made from the cluster key |
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from overworld.errors import WireError
from overworld.gateway.codes import CloseCode
from overworld.link.keys import Key, decode_with_any, derived_keys

GUEST_ISSUER = "overworld-guest"
SUBJECT_CHARS_MAX = 128
TOKEN_ID_CHARS_MAX = 64
TOKEN_CHARS_MAX = 4096
CLOCK_SLACK_S = 5
"""How far the clocks of two gateways may be apart."""

_REQUIRED = ("aud", "exp", "iat", "iss", "jti", "sub")
_RESUME = struct.Struct("<B4sqqQQ8s")
_RESUME_VERSION = 1
_MAC_BYTES = 32


@dataclass(frozen=True)
class Login:
    """What a good token says. `token_id` is to be used once, within `use_within_s` seconds."""

    player: int
    token_id: str
    use_within_s: int


class Verifier(Protocol):
    """Tells who a login token stands for. Guests' tokens are one kind; tokens of an OIDC issuer can be another."""

    def verify(self, token: str, now_s: float) -> Login:
        """Raises WireError 4003, the same one for every fault."""


def player_id(issuer: str, subject: str) -> int:
    """The player of an account: 63 bits of blake2b, at least 1. The issuer's length keeps pairs apart."""
    name = f"{len(issuer)}|{issuer}|{subject}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") >> 1 or 1


def _not_authorised() -> WireError:
    return WireError(CloseCode.NOT_AUTHORISED, "the token is not good here")


class GuestTokens:
    """Signs and verifies guests' login tokens for one world."""

    def __init__(self, cluster_key: Key, audience: str, ttl_s: int) -> None:
        self._keys = derived_keys(cluster_key, b"guest token")
        self._guest_keys = derived_keys(cluster_key, b"guest name")
        self._audience = audience
        self._ttl_s = ttl_s

    def issue(self, subject: str, now_s: float) -> str:
        """A token for one login within `ttl_s` seconds."""
        claims = {
            "iss": GUEST_ISSUER,
            "aud": self._audience,
            "sub": subject,
            "jti": secrets.token_urlsafe(16),
            "iat": int(now_s),
            "exp": int(now_s) + self._ttl_s,
        }
        return jwt.encode(claims, self._keys[0], algorithm="HS256")

    def verify(self, token: str, now_s: float) -> Login:
        """See `Verifier`."""
        claims = self._claims(token)
        subject, token_id = claims["sub"], claims["jti"]
        issued_s, expires_s = claims["iat"], claims["exp"]
        good = (
            isinstance(subject, str)
            and 0 < len(subject) <= SUBJECT_CHARS_MAX
            and isinstance(token_id, str)
            and 0 < len(token_id) <= TOKEN_ID_CHARS_MAX
            and type(issued_s) is int
            and type(expires_s) is int
            and issued_s <= now_s + CLOCK_SLACK_S
            and now_s <= expires_s + CLOCK_SLACK_S
            and expires_s - now_s <= self._ttl_s + CLOCK_SLACK_S
        )
        if not good:
            raise _not_authorised()
        within_s = max(1, int(expires_s - now_s) + 2 * CLOCK_SLACK_S)
        return Login(player_id(GUEST_ISSUER, subject), token_id, within_s)

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_CHARS_MAX:
            raise _not_authorised()
        try:
            claims: dict[str, Any] = decode_with_any(
                token,
                self._keys,
                algorithms=["HS256"],
                audience=self._audience,
                issuer=GUEST_ISSUER,
                # Times are judged by the caller's clock, above.
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
            raise _not_authorised() from error
        return claims

    def new_guest(self) -> str:
        """The name of a guest nobody has been before."""
        return secrets.token_urlsafe(16)

    def guest_pass(self, subject: str) -> str:
        """What a page keeps, to be the same guest again: the name and its signature."""
        return f"{subject}.{_guest_mac(self._guest_keys[0], subject)}"

    def guest_of(self, guest_pass: str) -> str | None:
        """The name in a guest's pass; None where it is not one of ours."""
        subject, _, mac = guest_pass.rpartition(".")
        if not 0 < len(subject) <= SUBJECT_CHARS_MAX:
            return None
        shown = mac.encode(errors="surrogatepass")
        good = any(hmac.compare_digest(_guest_mac(key, subject).encode(), shown) for key in self._guest_keys)
        return subject if good else None


def _guest_mac(key: bytes, subject: str) -> str:
    return hmac.new(key, subject.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Resume:
    """The session a resume token takes up again, and whose it is."""

    session: int
    player: int


class ResumeTokens:
    """Makes and opens resume tokens. Any gateway of the cluster opens what any other made."""

    def __init__(self, cluster_key: Key, audience: str, ttl_s: int) -> None:
        self._keys = derived_keys(cluster_key, b"resume token")
        self._world = hashlib.blake2b(audience.encode(), digest_size=4).digest()
        self._ttl_s = ttl_s

    def issue(self, session: int, player: int, now_s: float) -> bytes:
        """A token for this session, good for `ttl_s` seconds."""
        issued_s = int(now_s)
        until_s = issued_s + self._ttl_s
        body = _RESUME.pack(_RESUME_VERSION, self._world, session, player, issued_s, until_s, secrets.token_bytes(8))
        return body + _resume_mac(self._keys[0], body)

    def open(self, token: bytes, now_s: float) -> Resume:
        """Raises WireError 4008, the same one for every fault."""
        body, mac = token[:-_MAC_BYTES], token[-_MAC_BYTES:]
        good = any(hmac.compare_digest(_resume_mac(key, body), mac) for key in self._keys) and len(body) == _RESUME.size
        if not good:
            raise WireError(CloseCode.SESSION_OVER, "the session cannot be taken up again")
        version, world, session, player, issued_s, until_s, _ = _RESUME.unpack(body)
        timely = issued_s <= now_s + CLOCK_SLACK_S and now_s <= until_s
        if version != _RESUME_VERSION or world != self._world or not timely or session < 1 or player < 1:
            raise WireError(CloseCode.SESSION_OVER, "the session cannot be taken up again")
        return Resume(session, player)


def _resume_mac(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()


def audience_of(world: str, title: str) -> str:
    """The `aud` of tokens for a world."""
    return f"{world}/{title}"
