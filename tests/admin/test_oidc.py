"""Tokens of an issuer, which is real and on loopback, and whose keys rotate."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from overworld.admin.oidc import FRESH_S, STALE_S, TOKEN_CHARS_MAX, Issued, Oidc
from overworld.admin.rank import Caller, Rank
from overworld.errors import AdminError, SettingsError
from tests.admin.issuer import AUDIENCE, Issuer
from tests.admin.test_api import World

NOW_S = 1_800_000_000.0
GAP_S = 30.0


class Stand:
    """An issuer, who checks its tokens, and a clock that stands."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.now_s = 1000.0
        self.oidc = Oidc(Issued(issuer.url, AUDIENCE), lambda: self.now_s, GAP_S)

    async def check(self, token: str) -> Caller:
        return await self.oidc.check(token, NOW_S)

    async def fault(self, token: str) -> tuple[int, str]:
        with pytest.raises(AdminError) as caught:
            await self.check(token)
        return caught.value.status, str(caught.value)


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = await Issuer().start()
    made.rotate("first")
    try:
        yield made
    finally:
        await made.stop()


@pytest_asyncio.fixture
async def stand(issuer: Issuer) -> Stand:
    return Stand(issuer)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["RSA", "EC"])
async def test_a_token_says_who_and_as_what(stand: Stand, kind: str) -> None:
    stand.issuer.rotate("mine", kind)
    expected = Caller("anna (app az-cli)", Rank.OPERATOR)
    assert await stand.check(stand.issuer.token(NOW_S, "reader", "operator", "gardener")) == expected
    assert await stand.check(stand.issuer.token(NOW_S, azp=None)) == Caller("anna", Rank.NOBODY)
    assert stand.issuer.requests == 1, "keys are kept"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"exp": NOW_S - 31}, "expired"),
        ({"nbf": NOW_S + 31}, "not good yet"),
        ({"aud": "another-api"}, "InvalidAudienceError"),
        ({"iss": "https://evil.example"}, "InvalidIssuerError"),
        ({"exp": None}, "MissingRequiredClaimError"),
        ({"exp": "soon"}, "times that are no numbers"),
        ({"exp": True}, "times that are no numbers"),
        ({"sub": None}, "MissingRequiredClaimError"),
        ({"aud": None}, "MissingRequiredClaimError"),
        ({"sub": ""}, "no subject"),
    ],
)
async def test_a_claim_that_is_not_as_it_should_be_is_no_good(stand: Stand, change: dict[str, Any], why: str) -> None:
    status, said = await stand.fault(stand.issuer.token(NOW_S, "administrator", **change))
    assert (status, why in said) == (401, True), said


@pytest.mark.asyncio
async def test_clocks_may_differ_a_little(stand: Stand) -> None:
    token = stand.issuer.token(NOW_S, "reader", nbf=NOW_S + 29, exp=NOW_S - 29)
    assert (await stand.check(token)).rank is Rank.READER


@pytest.mark.asyncio
@pytest.mark.parametrize("roles", [None, "administrator", [7], {"administrator": 1}, ["Administrator", "admin"]])
async def test_roles_are_a_list_of_names_we_know(stand: Stand, roles: Any) -> None:
    assert (await stand.check(stand.issuer.token(NOW_S, roles=roles))).rank is Rank.NOBODY


@pytest.mark.asyncio
async def test_a_token_does_not_choose_how_it_is_checked(stand: Stand) -> None:
    claims, names = stand.issuer.claims(NOW_S, "administrator"), {"kid": "first"}
    assert (await stand.fault(jwt.encode(claims, "", "none", headers=names)))[0] == 401

    # HS256, with the public key, which everybody has, as the secret.
    public = stand.issuer.private["first"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    said = jwt.encode(claims, "s" * 32, "HS256", headers=names).rpartition(".")[0]
    digest = hmac.digest(public, said.encode(), "sha256")
    forged = f"{said}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    assert (await stand.fault(forged))[0] == 401

    # A good one whose header is changed to another algorithm of the list.
    head, rest = stand.issuer.token(NOW_S, "administrator").split(".", 1)
    other = json.loads(base64.urlsafe_b64decode(head + "==")) | {"alg": "ES256"}
    forged = base64.urlsafe_b64encode(json.dumps(other).encode()).rstrip(b"=").decode()
    assert (await stand.fault(f"{forged}.{rest}"))[0] == 401

    # Its own key under the issuer's name.
    thief = Issuer()
    thief.rotate("first")
    thief.url = stand.issuer.url
    assert (await stand.fault(thief.token(NOW_S, "administrator"))) == (401, "no good: InvalidSignatureError")
    assert (await stand.fault("x" * (TOKEN_CHARS_MAX + 1)))[0] == 401


@pytest.mark.asyncio
async def test_keys_rotate(stand: Stand) -> None:
    await stand.check(stand.issuer.token(NOW_S))
    stand.issuer.rotate("second")
    token = stand.issuer.token(NOW_S, "reader")
    assert (await stand.fault(token))[0] == 401, "not asked again so soon"
    stand.now_s += GAP_S
    assert (await stand.check(token)).rank is Rank.READER
    assert stand.issuer.requests == 2


@pytest.mark.asyncio
async def test_a_key_that_was_withdrawn_is_good_no_longer_than_keys_are_fresh(stand: Stand) -> None:
    token = stand.issuer.token(NOW_S)
    await stand.check(token)
    stand.issuer.rotate("second")
    stand.now_s += FRESH_S + 1
    assert (await stand.fault(token))[0] == 401


@pytest.mark.asyncio
async def test_a_flood_of_unknown_keys_does_not_reach_the_issuer(stand: Stand) -> None:
    private, claims = stand.issuer.private["first"], stand.issuer.claims(NOW_S)
    flood = [jwt.encode(claims, private, "RS256", headers={"kid": f"made-up-{n}"}) for n in range(100)]
    answers = await asyncio.gather(*(stand.check(token) for token in flood), return_exceptions=True)
    assert all(isinstance(answer, AdminError) and answer.status == 401 for answer in answers)
    assert stand.issuer.requests == 1
    assert (await stand.check(stand.issuer.token(NOW_S, "reader"))).rank is Rank.READER
    stand.now_s += GAP_S
    await asyncio.gather(*(stand.check(token) for token in flood), return_exceptions=True)
    assert stand.issuer.requests == 2


@pytest.mark.asyncio
async def test_an_issuer_that_is_down_at_first_is_asked_again(stand: Stand) -> None:
    stand.issuer.broken = True
    token = stand.issuer.token(NOW_S, "reader")
    assert await stand.fault(token) == (503, "the issuer of tokens does not answer")
    assert (await stand.fault(token))[0] == 503
    assert stand.issuer.requests == 1
    stand.issuer.broken = False
    stand.now_s += GAP_S
    assert (await stand.check(token)).rank is Rank.READER


@pytest.mark.asyncio
async def test_known_keys_outlive_an_issuer_that_went_down_but_not_for_ever(stand: Stand) -> None:
    token = stand.issuer.token(NOW_S, "reader")
    await stand.check(token)
    await stand.issuer.stop()
    stand.now_s += FRESH_S + 1
    assert (await stand.check(token)).rank is Rank.READER
    stand.now_s += STALE_S
    assert (await stand.fault(token))[0] == 503


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://evil.example/keys"},
        {"jwks_uri": 7},
        {"jwks_uri": "file:///keys"},
        {"padding": "x" * 300_000},
    ],
)
async def test_a_discovery_document_that_is_not_as_it_should_be_is_not_followed(
    stand: Stand, change: dict[str, Any]
) -> None:
    stand.issuer.change = lambda about: about.update(change)
    assert (await stand.fault(stand.issuer.token(NOW_S)))[0] == 503


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The RSA key is")
async def test_weak_keys_are_left_out(stand: Stand) -> None:
    stand.issuer.rotate("weak", bits=1024)
    assert (await stand.fault(stand.issuer.token(NOW_S)))[0] == 503


@given(st.text(max_size=200))
def test_whatever_comes_is_answered(token: str) -> None:
    with pytest.raises(AdminError):
        asyncio.run(Oidc(Issued("https://issuer.example", AUDIENCE)).check(token, NOW_S))


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "issuer.example", "ftp://127.0.0.1", "", "http://[", "https://"]
)
def test_an_issuer_is_asked_over_tls_alone(url: str) -> None:
    with pytest.raises(SettingsError, match="https"):
        Issued(url, AUDIENCE)
    with pytest.raises(SettingsError, match="AUDIENCE"):
        Issued("https://issuer.example", "")


# ---------------------------------------------------------------- the API


@pytest_asyncio.fixture
async def world(issuer: Issuer) -> AsyncIterator[World]:
    made = World(Oidc(Issued(issuer.url, AUDIENCE)))
    try:
        await made.start()
        yield made
    finally:
        await made.close()


@pytest.mark.asyncio
async def test_each_role_may_what_it_may_and_is_told_what_it_lacks(world: World, issuer: Issuer) -> None:
    port, now_s = world.gateways[0].internal_port, time.time()
    nobody, reader, operator, administrator = (
        issuer.token(now_s, *roles) for roles in ((), ("reader",), ("operator",), ("administrator",))
    )
    lacks = "this needs the role {}; this token has {}"
    assert await world.ask(port, "workers", nobody) == (403, {"error": lacks.format("reader", "none")})
    assert (await world.ask(port, "workers", reader))[0] == 200
    refused = await world.order(port, "broadcast", reader, text="hello")
    assert refused == (403, {"error": lacks.format("operator", "reader")})
    # Passed on to both gateways, and to a worker, as an operator's.
    assert (await world.order(port, "broadcast", operator, text="hello"))[1]["gateways"].keys() == {
        "gateway-0",
        "gateway-1",
    }
    assert (await world.order(port, "workers/worker-a/drain", operator, undo=True))[0] == 200
    refused = await world.order(port, f"worlds/{world.cluster.contract.world}/pause", operator)
    assert refused == (403, {"error": lacks.format("administrator", "operator")})
    for order in ("pause", "resume"):
        assert (await world.order(port, f"worlds/{world.cluster.contract.world}/{order}", administrator))[0] == 200


@pytest.mark.asyncio
async def test_each_call_is_logged_with_role_and_reason_and_never_with_the_token(world: World, issuer: Issuer) -> None:
    port = world.gateways[0].internal_port
    good, late = issuer.token(time.time(), "operator"), issuer.token(time.time() - 9999, "operator")
    with capture_logs() as lines:
        await world.order(port, "broadcast", good, text="hello")
        status, said = await world.order(port, "broadcast", late, text="hello")
    assert (status, "this needs the role operator" in said["error"]) == (401, True)
    calls = [line for line in lines if line["event"] == "admin_call" and line["path"].endswith("v1/broadcast")]
    assert [(call["who"], call["role"], call["status"], call["why"]) for call in calls] == [
        ("anna (app az-cli)", "operator", 200, ""),
        ("", "", 401, "expired"),
    ]
    assert good.split(".")[2] not in str(lines)
    assert late.split(".")[2] not in str(lines)
