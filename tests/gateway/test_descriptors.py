"""The lane leaves a descriptor for every socket."""

from __future__ import annotations

import resource

import pytest

from overworld.gateway.descriptors import SPARE, lane_places


@pytest.mark.parametrize(
    ("soft", "hard", "sockets", "places", "after"),
    [
        (1024, 1 << 20, 5000, 5000, 2 * 5000 + SPARE),
        (1024, 8000, 5000, 8000 - SPARE - 5000, 8000),
        (1024, 1024, 5000, 0, 1024),
        (1 << 20, 1 << 20, 5000, 5000, 1 << 20),
        (1024, resource.RLIM_INFINITY, 700, 700, 1400 + SPARE),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 9, 9, None),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, sockets: int, places: int, after: int | None
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, to: limits.append(to))
    assert lane_places(sockets) == places
    assert limits[-1] == (after if after is not None else soft, hard)
