"""What bots noticed of faults, read from their histories."""

from __future__ import annotations

from loadtest.history import BotHistory, Entry, Event
from loadtest.pauses import Fault, noticed
from overworld.wire.v1 import client_pb2 as pb


def frame(time_s: float, *, tick: int = 0, notice: pb.Notice.Code.ValueType = pb.Notice.CODE_UNSPECIFIED) -> Entry:
    body = pb.Frame(
        heads=[pb.TickHead(shard=0, epoch=1, tick=tick)] if tick else [],
        notices=[pb.Notice(code=notice)] if notice else [],
    )
    return Entry(Event.FRAME, 0, int(time_s * 1e6), body.SerializeToString())


def ticks(begin_s: float, end_s: float) -> list[Entry]:
    count = round((end_s - begin_s) * 20)
    return [frame(begin_s + i / 20, tick=1 + round(begin_s * 20) + i) for i in range(count)]


STALLED, RESUMED, SEARCHING = pb.Notice.CODE_STALLED, pb.Notice.CODE_RESUMED, pb.Notice.CODE_SEARCHING


def test_a_pause_lasts_from_the_last_tick_before_to_the_first_after_and_belongs_to_its_fault() -> None:
    told = [frame(11.0, notice=STALLED), frame(14.0, notice=RESUMED)]
    history = BotHistory(0, [*ticks(1.0, 10.0), *told[:1], *told[1:], *ticks(14.0, 20.0), *ticks(20.5, 26.0)])
    first, second = noticed([history], [Fault("long", 10.0, 15.0), Fault("short", 20.0, 21.0)])
    assert [round(s, 2) for s in first.pauses_s] == [4.05]
    assert first.told_s == [1.0]
    assert first.told_resumed == 1
    assert first.untold == 0
    assert [round(s, 2) for s in second.pauses_s] == [0.55]
    assert second.told_s == []
    assert second.untold == 0


def test_a_bot_that_saw_nothing_for_long_and_was_not_told_is_counted() -> None:
    history = BotHistory(0, [*ticks(1.0, 10.0), *ticks(14.0, 16.0)])
    (found,) = noticed([history], [Fault("long", 10.0, 15.0)])
    assert found.untold == 1
    assert found.told_resumed == 0


def test_searching_counts_as_told() -> None:
    history = BotHistory(0, [*ticks(1.0, 10.0), frame(10.5, notice=SEARCHING), *ticks(14.0, 16.0)])
    (found,) = noticed([history], [Fault("long", 10.0, 15.0)])
    assert found.untold == 0
