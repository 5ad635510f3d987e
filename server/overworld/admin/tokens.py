"""Who may use the admin API: bearer tokens, signed with a key made from the cluster key, or one static token; `oidc`
has those of an issuer, where there is one.

Signed ones are JWT (HS256) with the claims iss, aud, sub (who), scope ("read", "operate" or "admin"), iat, exp. The
static token (`OVERWORLD_ADMIN_TOKEN`) may everything. Every fault has the same answer.
"""

from __future__ import annotations

import hmac
from typing import Any

import jwt

from overworld.admin.oidc import Oidc
from overworld.admin.rank import Caller, Rank
from overworld.link.keys import Key, decode_with_any, derived_keys

ISSUER = AUDIENCE = "overworld-admin"
READ, OPERATE, ADMIN = "read", "operate", "admin"
RANKS = {READ: Rank.READER, OPERATE: Rank.OPERATOR, ADMIN: Rank.ADMINISTRATOR}
SCOPES = {rank: scope for scope, rank in RANKS.items()}
TOKEN_CHARS_MAX = 4096
WHO_CHARS_MAX = 200
CLOCK_SLACK_S = 5
STATIC = "static token"


class AdminTokens:
    """Signs and checks admin tokens of one cluster. Times are arguments, in seconds since 1970."""

    def __init__(self, cluster_key: Key, static: str = "", oidc: Oidc | None = None) -> None:
        """`static`: a token that is good as well; empty: none is. `oidc`: who checks those of an issuer."""
        self.oidc = oidc
        self._keys = derived_keys(cluster_key, b"admin token")
        self._static = static.encode()

    def issue(self, who: str, now_s: float, ttl_s: float, scope: str = ADMIN) -> str:
        """A token for so long."""
        assert scope in RANKS
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": who[:WHO_CHARS_MAX],
            "scope": scope,
            "iat": int(now_s),
            "exp": int(now_s + ttl_s),
        }
        return jwt.encode(claims, self._keys[0], algorithm="HS256")

    def check(self, token: str, now_s: float) -> Caller | None:
        """Whose token it is; None where it is no good."""
        if not 0 < len(token) <= TOKEN_CHARS_MAX:
            return None
        if self._static and hmac.compare_digest(token.encode(errors="surrogatepass"), self._static):
            return Caller(STATIC, Rank.ADMINISTRATOR)
        try:
            claims: dict[str, Any] = decode_with_any(
                token,
                self._keys,
                algorithms=["HS256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Times are judged by the caller's clock, below.
                options={
                    "require": ["aud", "exp", "iat", "iss", "scope", "sub"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            return None
        who, scope, issued_s, expires_s = (claims[name] for name in ("sub", "scope", "iat", "exp"))
        timely = (
            type(issued_s) is int
            and type(expires_s) is int
            and issued_s <= now_s + CLOCK_SLACK_S
            and now_s <= expires_s + CLOCK_SLACK_S
        )
        if not (timely and isinstance(who, str) and 0 < len(who) <= WHO_CHARS_MAX and scope in SCOPES.values()):
            return None
        return Caller(who, RANKS[scope])
