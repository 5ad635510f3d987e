"""Hands the messages of committed ticks to the shards they are for, wherever those are run. Best effort, once: what
does not arrive is read from the sender's outbox (`sweeps`).

    the receiver is run by      its mail goes
    this worker                 into its mailbox
    another one, linked         over the link to that worker
    nobody, or nobody linked    nowhere; counted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from google.protobuf.message import DecodeError

from overworld import telemetry
from overworld.errors import LinkError
from overworld.shard.inputs import ShardMessage
from overworld.store.ports import MESSAGE_BYTES_MAX, OutboxMessage
from overworld.wire.v1 import link_pb2, record_pb2

MAIL_BYTES_MAX = 1 << 20
"""Bodies of one ShardMail, beside the last one."""


@dataclass(frozen=True)
class Post:
    """How mail leaves a shard. `here`: takes the messages to a shard of this very process, False where it is not run
    here. `owner`: address of the worker that was last seen to own a shard, empty where nobody was. `there`: sends the
    bytes of a LinkMessage to the worker at an address, False where it cannot.
    """

    here: Callable[[int, Sequence[ShardMessage]], bool]
    owner: Callable[[int], str]
    there: Callable[[str, bytes], bool]

    def send(self, messages: Sequence[ShardMessage], bodies: Sequence[OutboxMessage]) -> None:
        """One tick's messages, and the same as they stand in the outbox. Only for ticks that are committed."""
        telemetry.mail_sent_total.inc(len(messages))
        pairs = sorted(zip(messages, bodies, strict=True), key=lambda pair: (pair[0].to_shard, pair[0].number))
        for to_shard, found in groupby(pairs, key=lambda pair: pair[0].to_shard):
            group = list(found)
            if not self.here(to_shard, [message for message, _ in group]):
                self._send_away(to_shard, group)

    def _send_away(self, to_shard: int, group: Sequence[tuple[ShardMessage, OutboxMessage]]) -> None:
        owner = self.owner(to_shard)
        if not owner:
            telemetry.mail_dropped_total.labels("no_owner").inc(len(group))
            return
        for part in _parts(group):
            first = part[0][0]
            mail = link_pb2.ShardMail(from_shard=first.from_shard, to_shard=to_shard, first_number=first.number)
            mail.bodies.extend(body.body for _, body in part)
            if not self.there(owner, link_pb2.LinkMessage(mail=mail).SerializeToString()):
                telemetry.mail_dropped_total.labels("no_link").inc(len(part))


NO_POST = Post(here=lambda _, __: False, owner=lambda _: "", there=lambda _, __: False)
"""Where nothing is handed over: sweeps alone bring mail."""


def opened(mail: link_pb2.ShardMail, shard_count: int) -> list[ShardMessage]:
    """The messages in a ShardMail. Raises LinkError where they are not what it says."""
    if mail.from_shard >= shard_count:
        raise LinkError(f"mail of shard {mail.from_shard} to shard {mail.to_shard}")
    messages = [message_of(body) for body in mail.bodies]
    for number, message in enumerate(messages, start=mail.first_number):
        if (message.from_shard, message.to_shard, message.number) != (mail.from_shard, mail.to_shard, number):
            raise LinkError(f"mail of shard {mail.from_shard}: message {message.number} where {number} should be")
    return messages


def message_of(body: bytes) -> ShardMessage:
    """A message from its bytes in an outbox. Raises LinkError."""
    if len(body) > MESSAGE_BYTES_MAX:
        raise LinkError(f"a message of {len(body)} bytes, at most {MESSAGE_BYTES_MAX}")
    try:
        found = record_pb2.ShardMessage.FromString(body)
    except DecodeError as error:
        raise LinkError(f"a message between shards: {error}") from error
    return ShardMessage(found.from_shard, found.to_shard, found.number, found.kind, found.body)


def _parts(
    group: Iterable[tuple[ShardMessage, OutboxMessage]],
) -> Iterator[list[tuple[ShardMessage, OutboxMessage]]]:
    """Runs that fit a link's frame."""
    part: list[tuple[ShardMessage, OutboxMessage]] = []
    size = 0
    for pair in group:
        part.append(pair)
        size += len(pair[1].body)
        if size >= MAIL_BYTES_MAX:
            yield part
            part, size = [], 0
    if part:
        yield part
