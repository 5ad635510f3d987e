"""After a gap of the loop, only answers to later questions count."""

from __future__ import annotations

from overworld.worker.pulse import Pulse


def test_without_a_gap_every_answer_counts_however_late() -> None:
    pulse = Pulse(0.5, 0.0)
    for beat in range(1, 30):
        pulse.beat(beat / 10)
    assert pulse.trusts(0.0, 3.0)
    assert pulse.gaps == 0


def test_a_gap_noticed_by_the_beat_makes_earlier_questions_void() -> None:
    pulse = Pulse(0.5, 0.0)
    pulse.beat(0.4)
    assert pulse.beat(1.0)
    assert not pulse.trusts(0.4, 1.01)
    assert pulse.trusts(1.0, 1.02)


def test_a_gap_is_noticed_by_the_answer_itself() -> None:
    pulse = Pulse(0.5, 0.0)
    assert not pulse.trusts(0.0, 10.0)
    assert pulse.gaps == 1
    assert pulse.trusts(10.0, 10.1)
