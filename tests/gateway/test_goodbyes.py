"""Who left in the very moment in which his avatar crossed."""

from __future__ import annotations

from overworld.gateway.goodbyes import KEPT_MAX, KEPT_S, Goodbyes


def test_a_goodbye_is_taken_once_and_only_for_the_shard_that_was_told() -> None:
    goodbyes = Goodbyes()
    goodbyes.said(7, shard=1, player=70, leaving=True, now_s=0.0)
    assert goodbyes.take(7, shard=2, now_s=0.1) is None
    found = goodbyes.take(7, shard=1, now_s=0.1)
    assert found is not None
    assert (found.player, found.leaving) == (70, True)
    assert goodbyes.take(7, shard=1, now_s=0.1) is None


def test_old_goodbyes_mean_nothing() -> None:
    goodbyes = Goodbyes()
    goodbyes.said(7, shard=1, player=70, leaving=True, now_s=0.0)
    assert goodbyes.take(7, shard=1, now_s=KEPT_S + 0.1) is None


def test_only_so_many_are_kept() -> None:
    goodbyes = Goodbyes()
    for session in range(KEPT_MAX + 10):
        goodbyes.said(session, shard=1, player=session, leaving=False, now_s=0.0)
    assert goodbyes.take(0, shard=1, now_s=0.0) is None
    assert goodbyes.take(KEPT_MAX + 9, shard=1, now_s=0.0) is not None
