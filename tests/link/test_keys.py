"""The cluster key is changed in three rounds of restarts; at every moment of them all processes get on."""

from __future__ import annotations

import itertools

import pytest

from overworld.admin.tokens import AdminTokens
from overworld.gateway.tokens import GuestTokens, ResumeTokens
from overworld.link.handshake import GatewayHandshake, HandshakeState, LinkCredentials, WorkerHandshake
from overworld.link.keys import ClusterKeys, Key

OLD, NEW = b"o" * 32, b"n" * 32
ROUNDS: list[Key] = [OLD, ClusterKeys(OLD, NEW), ClusterKeys(NEW, OLD), ClusterKeys(NEW)]
ADJACENT = [pair for a, b in itertools.pairwise(ROUNDS) for pair in ((a, b), (b, a))]
APART = [(ROUNDS[0], ROUNDS[2]), (ROUNDS[1], ROUNDS[3]), (ROUNDS[0], ROUNDS[3])]


def shakes_hands(worker: Key, gateway: Key) -> bool:
    here = WorkerHandshake(LinkCredentials(worker, "world-1", "w"), b"1" * 32)
    there = GatewayHandshake(LinkCredentials(gateway, "world-1", "g"), b"2" * 32)
    [challenge] = here.start()
    [proof] = there.receive(challenge).send
    [answer] = here.receive(proof).send
    there.receive(answer)
    return here.state is there.state is HandshakeState.READY


def knows(mine: Key, theirs: Key) -> bool:
    """Whether a token of mine is good for them."""
    return AdminTokens(theirs).check(AdminTokens(mine).issue("me", 1000, 60), 1000) is not None


@pytest.mark.parametrize(("mine", "theirs"), ADJACENT)
def test_processes_of_two_rounds_in_a_row_understand_each_other(mine: Key, theirs: Key) -> None:
    assert shakes_hands(mine, theirs)
    assert knows(mine, theirs)
    guests, others = GuestTokens(mine, "w/t", 60), GuestTokens(theirs, "w/t", 60)
    assert others.verify(guests.issue("anna", 1000), 1000).player
    assert others.guest_of(guests.guest_pass("anna")) == "anna"
    resume = ResumeTokens(mine, "w/t", 60).issue(7, 8, 1000)
    assert ResumeTokens(theirs, "w/t", 60).open(resume, 1000).session == 7


@pytest.mark.parametrize(("mine", "theirs"), APART)
def test_a_round_that_is_left_out_locks_processes_out(mine: Key, theirs: Key) -> None:
    assert not (shakes_hands(mine, theirs) and shakes_hands(theirs, mine))
    assert not (knows(mine, theirs) and knows(theirs, mine))


def test_after_the_last_round_the_old_key_opens_nothing() -> None:
    assert not shakes_hands(ROUNDS[3], OLD)
    assert not knows(OLD, ROUNDS[3])


def test_keys_are_not_shown() -> None:
    assert "ooo" not in repr(ClusterKeys(OLD, NEW))
