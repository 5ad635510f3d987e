"""Was every acknowledged input applied exactly once, and as it was sent? Bots' histories against the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from loadtest.history import BotHistory, Event
from loadtest.journal import AppliedInput
from overworld.client.mirror import LightMirror
from overworld.wire.v1 import client_pb2 as pb

EXAMPLES_MAX = 10


@dataclass
class InputAudit:
    """What the check came to."""

    sent: int = 0
    sent_again: int = 0
    acked: int = 0
    applied: int = 0
    lost_after_ack: int = 0
    altered: int = 0
    early_acks: int = 0
    """Acks of a tick of a shard that had not applied the input by then, nor got its player after it was applied."""
    gaps: int = 0
    """Numbers the journal skips within a session."""
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Nothing was lost or changed, and something was acked."""
        return not (self.lost_after_ack or self.altered or self.early_acks or self.gaps) and self.acked > 0

    def tell(self, text: str) -> None:
        """Keep an example."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(text)


AppliedBy = Callable[[int, int, int], int]
"""(session, shard, tick) to the highest input applied by the end of that tick, wherever it was applied."""


def audit_inputs(
    histories: Iterable[BotHistory], applied: Mapping[int, Mapping[int, AppliedInput]], applied_by: AppliedBy
) -> InputAudit:
    """Check every bot's every session."""
    result = InputAudit()
    for history in histories:
        sent: dict[int, dict[int, pb.Input]] = {}
        acked: dict[int, int] = {}
        _read(history, sent, acked, applied, applied_by, result)
        for session, inputs in sent.items():
            _check(history.bot, inputs, acked.get(session, 0), applied.get(session, {}), result)
    return result


def acked_inputs(histories: Iterable[BotHistory]) -> dict[int, int]:
    """The highest input that was acknowledged, by session."""
    found: dict[int, int] = {}
    for history in histories:
        light, session = LightMirror(), 0
        for entry in history.of(Event.FRAME):
            frame = light.parse(entry.body)
            for welcome in frame.welcomes:
                session = welcome.session
            for ack in frame.acks:
                found[session] = max(found.get(session, 0), ack.seq)
    return found


def _read(
    history: BotHistory,
    sent: dict[int, dict[int, pb.Input]],
    acked: dict[int, int],
    applied: Mapping[int, Mapping[int, AppliedInput]],
    applied_by: AppliedBy,
    result: InputAudit,
) -> None:
    light = LightMirror()
    session = 0
    for entry in history.entries:
        if entry.event is Event.FRAME:
            frame = light.parse(entry.body)
            for welcome in frame.welcomes:
                session = welcome.session
                acked[session] = max(acked.get(session, 0), welcome.last_seq)
            for ack in frame.acks:
                acked[session] = max(acked.get(session, 0), ack.seq)
                at = applied.get(session, {}).get(ack.seq)
                here = at is not None and at.shard == ack.shard and at.tick <= ack.tick
                if not here and applied_by(session, ack.shard, ack.tick) < ack.seq:
                    result.early_acks += 1
                    result.tell(f"bot {history.bot}: input {ack.seq} acked at {ack.shard}/{ack.tick}, applied: {at}")
        elif entry.event is Event.SENT:
            message = pb.ClientMessage.FromString(entry.body)
            if message.HasField("input"):
                result.sent += 1
                result.sent_again += message.input.seq in sent.setdefault(session, {})
                sent[session][message.input.seq] = message.input


def _check(
    bot: int, sent: dict[int, pb.Input], acked: int, applied: Mapping[int, AppliedInput], result: InputAudit
) -> None:
    result.acked += acked
    result.applied += len(applied)
    for seq in range(1, acked + 1):
        if seq not in applied:
            result.lost_after_ack += 1
            result.tell(f"bot {bot}: input {seq} was acked and is not in the journal")
    result.gaps += max(applied, default=0) - len(applied)
    for seq, at in applied.items():
        was = sent.get(seq)
        if was is None or (was.kind, tuple(was.values)) != (at.kind, at.values):
            result.altered += 1
            result.tell(f"bot {bot}: input {seq} was sent as {was} and applied as {at}")
