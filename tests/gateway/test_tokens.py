"""Login and resume tokens: what is good passes, and every fault gets the same answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from overworld.errors import WireError
from overworld.gateway.tokens import (
    CLOCK_SLACK_S,
    GUEST_ISSUER,
    GuestTokens,
    ResumeTokens,
    audience_of,
    player_id,
)
from overworld.link.keys import derived_key

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW = 1_800_000_000.0
TTL_S = 60
AUDIENCE = audience_of("main", "frontier")
TOKENS = GuestTokens(KEY, AUDIENCE, TTL_S)
RESUMES = ResumeTokens(KEY, AUDIENCE, 3600)
SIGNING_KEY = derived_key(KEY, b"guest token")


def claims(**changes: Any) -> dict[str, Any]:
    good = {
        "iss": GUEST_ISSUER,
        "aud": AUDIENCE,
        "sub": "anna",
        "jti": "one",
        "iat": int(NOW),
        "exp": int(NOW) + TTL_S,
        **changes,
    }
    return {name: value for name, value in good.items() if value is not ...}


def signed(key: bytes = SIGNING_KEY, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm)


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def handmade(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    return ".".join((part(json.dumps(header).encode()), part(json.dumps(body).encode()), part(signature)))


def answer(token: str, now_s: float = NOW) -> tuple[int, str]:
    with pytest.raises(WireError) as caught:
        TOKENS.verify(token, now_s)
    return caught.value.close_code, caught.value.reason


ONE_ANSWER = answer("")


def _same_bytes(a: str, b: str) -> bool:
    def parts(token: str) -> list[bytes]:
        return [base64.urlsafe_b64decode(each + "==") for each in token.split(".")]

    return a.rsplit(".", 1)[0] == b.rsplit(".", 1)[0] and "=" not in a and parts(a) == parts(b)


class TestGoodTokens:
    def test_one_of_ours(self) -> None:
        login = TOKENS.verify(TOKENS.issue("anna", NOW), NOW)
        assert login.player == player_id(GUEST_ISSUER, "anna")
        assert login.use_within_s >= TTL_S

    def test_no_two_are_alike(self) -> None:
        a, b = (TOKENS.verify(TOKENS.issue("anna", NOW), NOW) for _ in range(2))
        assert a.player == b.player
        assert a.token_id != b.token_id

    def test_one_made_by_hand(self) -> None:
        assert TOKENS.verify(signed(), NOW).token_id == "one"

    def test_for_its_lifetime(self) -> None:
        token = TOKENS.issue("anna", NOW)
        TOKENS.verify(token, NOW + TTL_S)
        assert answer(token, NOW + TTL_S + CLOCK_SLACK_S + 1) == ONE_ANSWER

    def test_a_gateway_whose_clock_is_a_little_behind(self) -> None:
        TOKENS.verify(TOKENS.issue("anna", NOW + CLOCK_SLACK_S), NOW)


class TestFaults:
    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "evil"},
            {"iss": ...},
            {"aud": audience_of("main", "duel")},
            {"aud": audience_of("other", "frontier")},
            {"aud": ...},
            {"sub": ""},
            {"sub": "x" * 129},
            {"sub": ...},
            {"jti": ""},
            {"jti": "x" * 65},
            {"jti": ...},
            {"exp": int(NOW) - 100},
            {"exp": int(NOW) + 10 * TTL_S},
            {"exp": ...},
            {"exp": 1e400},
            {"exp": float("nan")},
            {"exp": "tomorrow"},
            {"exp": True},
            {"exp": NOW + 30.5},
            {"iat": int(NOW) + 1000},
            {"iat": ...},
            {"iat": None},
            {"exp": 10**40},
        ],
        ids=str,
    )
    def test_claims(self, changes: dict[str, Any]) -> None:
        payload = json.dumps(claims(**changes)).encode()
        assert answer(jwt.api_jws.PyJWS().encode(payload, SIGNING_KEY, algorithm="HS256")) == ONE_ANSWER

    def test_another_key(self) -> None:
        assert answer(signed(derived_key(OTHER_KEY, b"guest token"))) == ONE_ANSWER
        assert answer(signed(derived_key(KEY, b"resume token"))) == ONE_ANSWER
        assert answer(signed(KEY)) == ONE_ANSWER

    def test_no_signature(self) -> None:
        for algorithm in ("none", "None", "NONE", ""):
            assert answer(handmade({"alg": algorithm, "typ": "JWT"}, claims())) == ONE_ANSWER
        head, body, _ = signed().split(".")
        assert answer(f"{head}.{body}.") == ONE_ANSWER
        assert answer(f"{head}.{body}") == ONE_ANSWER

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    def test_another_algorithm(self, algorithm: str) -> None:
        assert answer(signed(SIGNING_KEY * 2, algorithm)) == ONE_ANSWER

    def test_an_algorithm_with_public_keys(self) -> None:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        assert answer(jwt.encode(claims(), pem, algorithm="RS256")) == ONE_ANSWER

    def test_a_changed_body(self) -> None:
        head, _, signature = signed().split(".")
        changed = part(json.dumps(claims(sub="ben")).encode())
        assert answer(f"{head}.{changed}.{signature}") == ONE_ANSWER

    def test_headers_that_name_keys(self) -> None:
        for extra in ({"jwk": {"kty": "oct", "k": part(SIGNING_KEY)}}, {"kid": "../../dev/null"}, {"crit": ["exp"]}):
            assert answer(handmade({"alg": "HS256", **extra}, claims(), b"x" * 32)) == ONE_ANSWER

    def test_very_long_ones(self) -> None:
        assert answer("x" * 100_000) == ONE_ANSWER
        assert answer(signed(more="y" * 5000)) == ONE_ANSWER

    @given(st.text(max_size=200))
    def test_noise(self, noise: str) -> None:
        assert answer(noise) == ONE_ANSWER

    @given(st.data())
    def test_any_changed_character(self, data: st.DataObject) -> None:
        token = signed()
        at = data.draw(st.integers(0, len(token) - 1))
        letter = data.draw(st.sampled_from("ABCxyz019-_.="))
        changed = token[:at] + letter + token[at + 1 :]
        if _same_bytes(changed, token):
            # The last character of base64 carries bits that mean nothing.
            assert TOKENS.verify(changed, NOW) == TOKENS.verify(token, NOW)
        else:
            assert answer(changed) == ONE_ANSWER


class TestPlayers:
    @given(st.text(), st.text())
    def test_ids_are_63_bits_and_positive(self, issuer: str, subject: str) -> None:
        assert 0 < player_id(issuer, subject) < 2**63

    def test_issuer_and_subject_do_not_run_together(self) -> None:
        assert player_id("a", "b|c") != player_id("a|b", "c")
        assert player_id("", "ab") != player_id("a", "b")

    def test_guests_have_passes(self) -> None:
        name = TOKENS.new_guest()
        assert TOKENS.guest_of(TOKENS.guest_pass(name)) == name
        assert GuestTokens(OTHER_KEY, AUDIENCE, 60).guest_of(TOKENS.guest_pass(name)) is None

    @given(st.text(max_size=300))
    def test_other_passes_are_not_ours(self, noise: str) -> None:
        assert TOKENS.guest_of(noise) is None


class TestResume:
    def test_it_names_session_and_player(self) -> None:
        opened = RESUMES.open(RESUMES.issue(7, 9, NOW), NOW + 100)
        assert (opened.session, opened.player) == (7, 9)

    def test_no_two_are_alike(self) -> None:
        assert RESUMES.issue(7, 9, NOW) != RESUMES.issue(7, 9, NOW)

    def test_faults_get_one_answer(self) -> None:
        token = RESUMES.issue(7, 9, NOW)
        other_world = ResumeTokens(KEY, audience_of("other", "frontier"), 3600)
        bad = [b"", b"x", token[:-1], token + b"x", token[1:], bytes(77)]
        bad += [ResumeTokens(OTHER_KEY, AUDIENCE, 3600).issue(7, 9, NOW), other_world.issue(7, 9, NOW)]
        bad += [RESUMES.issue(7, 9, NOW + 100), RESUMES.issue(7, 9, NOW - 3601), RESUMES.issue(0, 9, NOW)]
        answers = set()
        for each in bad:
            with pytest.raises(WireError) as caught:
                RESUMES.open(each, NOW)
            answers.add((caught.value.close_code, caught.value.reason))
        assert len(answers) == 1
        assert answers.pop()[0] == 4008

    @given(st.integers(0, 76), st.integers(1, 255))
    def test_any_changed_byte_is_seen(self, at: int, change: int) -> None:
        token = bytearray(RESUMES.issue(7, 9, NOW))
        assert len(token) == 77
        token[at] ^= change
        with pytest.raises(WireError):
            RESUMES.open(bytes(token), NOW)
