"""Who may use the admin API."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.admin.rank import Caller, Rank
from overworld.admin.tokens import ADMIN, READ, STATIC, AdminTokens
from overworld.link.keys import derived_key

KEY = b"k" * 32
NOW_S = 1_800_000_000.0
LONG = "s" * 40


def test_a_signed_token_says_who_and_what_for() -> None:
    tokens = AdminTokens(KEY)
    assert tokens.check(tokens.issue("anna", NOW_S, 60), NOW_S) == Caller("anna", Rank.ADMINISTRATOR)
    assert tokens.check(tokens.issue("bert", NOW_S, 60, READ), NOW_S) == Caller("bert", Rank.READER)


def test_it_is_good_for_its_time_only() -> None:
    tokens = AdminTokens(KEY)
    token = tokens.issue("anna", NOW_S, 60)
    assert tokens.check(token, NOW_S + 60) is not None
    assert tokens.check(token, NOW_S + 66) is None
    assert tokens.check(token, NOW_S - 10) is None, "from the future"


def test_the_static_token_is_good_where_there_is_one() -> None:
    assert AdminTokens(KEY, LONG).check(LONG, NOW_S) == Caller(STATIC, Rank.ADMINISTRATOR)
    assert AdminTokens(KEY).check("", NOW_S) is None
    assert AdminTokens(KEY).check(LONG, NOW_S) is None
    assert AdminTokens(KEY, LONG).check(LONG[:-1], NOW_S) is None


def test_tokens_of_another_key_or_purpose_are_no_good() -> None:
    tokens = AdminTokens(KEY)
    assert tokens.check(AdminTokens(b"o" * 32).issue("anna", NOW_S, 60), NOW_S) is None
    claims = jwt.decode(tokens.issue("anna", NOW_S, 60), options={"verify_signature": False})
    assert tokens.check(jwt.encode(claims, derived_key(KEY, b"guest token"), algorithm="HS256"), NOW_S) is None
    unsigned = jwt.encode(claims, "", algorithm="none")
    assert tokens.check(unsigned, NOW_S) is None


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "main/frontier"},
        {"iss": "overworld-guest"},
        {"sub": ""},
        {"sub": 7},
        {"scope": "everything"},
        {"scope": None},
        {"exp": "soon"},
        {"iat": None},
    ],
)
def test_a_claim_that_is_not_as_it_should_be_is_no_good(change: dict[str, Any]) -> None:
    tokens = AdminTokens(KEY)
    key = derived_key(KEY, b"admin token")
    claims = jwt.decode(tokens.issue("anna", NOW_S, 60, ADMIN), options={"verify_signature": False}) | change
    assert tokens.check(jwt.encode(claims, key, algorithm="HS256"), NOW_S) is None


@given(st.text(max_size=200))
def test_whatever_comes_is_answered(token: str) -> None:
    assert AdminTokens(KEY, LONG).check(token, NOW_S) is None
