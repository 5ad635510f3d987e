"""An OpenID Connect issuer of our own on loopback: discovery document, keys that rotate, signed tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "api-of-overworld"
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Issuer:
    """`requests`: how often its discovery document was asked for. `change`: done to it before it is given."""

    def __init__(self) -> None:
        self.private: dict[str, Private] = {}
        self.requests = 0
        self.broken = False
        self.change: Callable[[dict[str, Any]], None] = lambda _: None
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> Issuer:
        app = web.Application()
        app.router.add_get("/tenant/v2.0/.well-known/openid-configuration", self._about)
        app.router.add_get("/keys", self._keys)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/tenant/v2.0"
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def rotate(self, name: str, kind: str = "RSA", bits: int = 2048) -> None:
        """From now on it has this key alone."""
        self.private = {
            name: rsa.generate_private_key(65537, bits) if kind == "RSA" else ec.generate_private_key(ec.SECP256R1())
        }

    def public(self, name: str) -> dict[str, Any]:
        """A key as it is published."""
        private = self.private[name]
        if isinstance(private, rsa.RSAPrivateKey):
            key = json.loads(RSAAlgorithm.to_jwk(private.public_key()))
        else:
            key = json.loads(ECAlgorithm.to_jwk(private.public_key()))
        return {k: v for k, v in key.items() if k != "key_ops"} | {"kid": name, "use": "sig"}

    def claims(self, now_s: float, *roles: str, **changed: Any) -> dict[str, Any]:
        """What a good token says, but for what is changed; None leaves a claim out."""
        said = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "anna",
            "azp": "az-cli",
            "nbf": int(now_s),
            "exp": int(now_s) + 600,
            "roles": list(roles),
        } | changed
        return {name: value for name, value in said.items() if value is not None}

    def token(self, now_s: float, *roles: str, **changed: Any) -> str:
        """A token signed with the newest key."""
        name, private = next(iter(self.private.items()))
        algorithm = "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(self.claims(now_s, *roles, **changed), private, algorithm, headers={"kid": name})

    async def _about(self, _: web.Request) -> web.Response:
        self.requests += 1
        if self.broken:
            return web.Response(status=500)
        about = {"issuer": self.url, "jwks_uri": self.url.replace("/tenant/v2.0", "/keys")}
        self.change(about)
        return web.json_response(about)

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [self.public(name) for name in self.private]})
