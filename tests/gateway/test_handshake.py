"""Who may upgrade."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from overworld.gateway.handshake import UpgradePolicy

PAGE = "https://play.example"
GOOD = {
    "Host": ["play.example"],
    "Origin": [PAGE],
    "Sec-WebSocket-Key": ["x"],
    "Sec-WebSocket-Version": ["13"],
}
POLICY = UpgradePolicy(frozenset({PAGE}), origin_absent=False, sockets_max=100, sockets_per_address_max=4)
NATIVE = UpgradePolicy(frozenset({PAGE}), origin_absent=True, sockets_max=100, sockets_per_address_max=4)


def headers(**changes: list[str]) -> Callable[[str], list[str]]:
    all_of = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return lambda name: all_of.get(name, [])


def status(
    policy: UpgradePolicy = POLICY, path: bytes = b"/play", sockets: int = 0, mine: int = 0, **changes: list[str]
) -> int:
    refusal = policy.judge(path, headers(**changes), sockets, mine)
    return refusal.status if refusal else 101


def test_a_page_of_ours_may() -> None:
    assert status() == 101


@pytest.mark.parametrize("path", [b"/", b"/play/", b"/play?token=x", b"/PLAY", b"/play/../play"])
def test_other_paths_may_not(path: bytes) -> None:
    assert status(path=path) == 404


@pytest.mark.parametrize("hosts", [[], [""], ["a", "b"], ["a", "a"]])
def test_exactly_one_host(hosts: list[str]) -> None:
    assert status(Host=hosts) == 400


@pytest.mark.parametrize(
    "origins",
    [
        ["https://evil.example"],
        ["http://play.example"],
        ["https://play.example:444"],
        ["https://play.example.evil.example"],
        ["HTTPS://PLAY.EXAMPLE"],
        ["null"],
        [""],
        [PAGE, PAGE],
        [PAGE, "https://evil.example"],
    ],
)
def test_other_origins_may_not(origins: list[str]) -> None:
    assert status(Origin=origins) == 403
    assert status(NATIVE, Origin=origins) == 403


def test_no_origin_only_where_native_clients_may() -> None:
    assert status(Origin=[]) == 403
    assert status(NATIVE, Origin=[]) == 101


@pytest.mark.parametrize("versions", [[], ["12"], ["8"], ["13", "13"], ["13, 8"]])
def test_only_version_13(versions: list[str]) -> None:
    assert status(Sec_WebSocket_Version=versions) == 426


@pytest.mark.parametrize("keys", [[], ["a", "b"]])
def test_exactly_one_key(keys: list[str]) -> None:
    assert status(Sec_WebSocket_Key=keys) == 400


def test_sockets_are_bounded() -> None:
    assert status(mine=3) == 101
    assert status(mine=4) == 429
    assert status(sockets=100) == 503
    refusal = POLICY.judge(b"/play", headers(), 100, 0)
    assert refusal is not None
    assert dict(refusal.headers)["Retry-After"].isdecimal()
