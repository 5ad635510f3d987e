"""Mail between shards: whatever order and however often it comes, a tick gets each message once and in order."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from overworld.shard.inputs import ShardMessage
from overworld.shard.mailbox import MESSAGE_COST_BYTES, Mailbox

ROOM = 1 << 30


def message(sender: int, number: int, size: int = 3) -> ShardMessage:
    return ShardMessage(sender, 9, number, 0, bytes(size))


def none(_: int) -> int:
    return 0


def numbers(taken: tuple[ShardMessage, ...]) -> list[tuple[int, int]]:
    return [(m.from_shard, m.number) for m in taken]


def all_of(box: Mailbox, received: int = 0) -> list[tuple[int, int]]:
    return numbers(box.take(lambda _: received, ROOM, ROOM))


class Receiver:
    """A shard that applies what it is given, and checks that it was given nothing wrong."""

    def __init__(self) -> None:
        self.received: dict[int, int] = defaultdict(int)
        self.got: list[tuple[int, int]] = []

    def tick(self, box: Mailbox, bytes_max: int = ROOM, messages_max: int = ROOM) -> int:
        taken = box.take(lambda sender: self.received[sender], bytes_max, messages_max)
        assert numbers(taken) == sorted(numbers(taken))
        for m in taken:
            assert m.number == self.received[m.from_shard] + 1, "no gap, and nothing twice"
            self.received[m.from_shard] = m.number
        self.got += numbers(taken)
        return len(taken)


def test_a_tick_gets_what_came_by_sender_and_number() -> None:
    box = Mailbox()
    for sender, number in ((4, 2), (1, 1), (4, 1), (1, 2)):
        assert box.arrive(message(sender, number))
    assert all_of(box) == [(1, 1), (1, 2), (4, 1), (4, 2)]
    assert all_of(box) == []


def test_what_comes_before_its_turn_waits_and_its_sender_has_a_gap() -> None:
    box = Mailbox()
    box.arrive(message(1, 1))
    box.arrive(message(2, 3))
    assert box.gaps(none) == (2,)
    assert all_of(box) == [(1, 1)]
    box.arrive(message(2, 1))
    assert box.gaps(none) == ()
    assert all_of(box) == [(2, 1)]
    assert box.gaps(none) == (2,)
    assert (box.reached(1, 0), box.reached(2, 0), box.reached(3, 7)) == (1, 1, 7)
    box.arrive(message(2, 2))
    assert box.reached(2, 0) == 3
    assert all_of(box) == [(2, 2), (2, 3)]


def test_a_second_copy_is_no_news_waiting_taken_or_in_the_state() -> None:
    box = Mailbox()
    assert [box.arrive(message(1, 1)), box.arrive(message(1, 1))] == [True, False]
    assert all_of(box) == [(1, 1)]
    assert not box.arrive(message(1, 1))
    box.arrive(message(2, 5))
    assert all_of(box, received=5) == []
    assert (box.counters.duplicate, len(box)) == (3, 0)


def test_what_is_too_much_for_a_record_waits_and_senders_take_turns() -> None:
    box = Mailbox()
    for sender in (1, 2):
        for number in range(1, 5):
            box.arrive(message(sender, number))
    taken = [numbers(box.take(none, ROOM, 3)) for _ in range(4)]
    assert taken == [[(1, 1), (1, 2), (1, 3)], [(1, 4), (2, 1), (2, 2)], [(2, 3), (2, 4)], []]
    for sender in (1, 2):
        box.arrive(message(sender, 5, size=100))
        box.arrive(message(sender, 6, size=100))
    cost = 100 + MESSAGE_COST_BYTES
    assert [numbers(box.take(none, cost, ROOM)) for _ in range(4)] == [[(2, 5)], [(2, 6)], [(1, 5)], [(1, 6)]]


def test_a_message_above_the_bytes_of_a_record_goes_alone() -> None:
    box = Mailbox()
    box.arrive(message(1, 1, size=1000))
    box.arrive(message(1, 2))
    assert numbers(box.take(none, 10, ROOM)) == [(1, 1)]
    assert numbers(box.take(none, 10, ROOM)) == [(1, 2)]


def test_a_full_mailbox_always_has_room_for_what_is_due() -> None:
    box = Mailbox(messages_max=3, bytes_max=1000)
    assert [box.arrive(message(1, n)) for n in (2, 3, 4, 5)] == [True, True, True, False]
    assert box.arrive(message(1, 1)), "4 makes room for it"
    assert box.arrive(message(2, 1)), "one sender's mail takes nobody else's room"
    assert all_of(box) == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert box.counters.overflow == 2
    box.arrive(message(1, 5, size=900))
    assert not box.arrive(message(1, 6, size=900))
    assert box.arrive(message(1, 4, size=2000)), "what is due comes in whatever its size"
    assert all_of(box) == [(1, 4)]


@given(data=st.data())
def test_any_order_loss_and_repetition_gives_each_message_once_and_in_order(data: st.DataObject) -> None:
    sent = {sender: data.draw(st.integers(0, 12), f"sent by {sender}") for sender in (1, 4, 6)}
    letters = [(sender, n) for sender, count in sent.items() for n in range(1, count + 1)]
    box, receiver = Mailbox(messages_max=data.draw(st.integers(1, 6)), bytes_max=200), Receiver()
    bound = st.integers(1, 100)
    for _ in range(data.draw(st.integers(0, 8))):
        if letters:
            for sender, number in data.draw(st.lists(st.sampled_from(letters), max_size=10)):
                box.arrive(message(sender, number))
        receiver.tick(box, data.draw(bound), data.draw(bound))
    for _ in range(len(letters) + 1):
        for sender, count in sent.items():
            # As a sweep does: read the outbox after what is there without a gap.
            after = box.reached(sender, receiver.received[sender])
            for number in range(after + 1, count + 1):
                box.arrive(message(sender, number))
        receiver.tick(box, data.draw(bound), data.draw(bound))
    assert receiver.received == {s: n for s, n in sent.items() if n} | {s: 0 for s in receiver.received if not sent[s]}
    assert sorted(receiver.got) == sorted(letters)
    assert len(box) == 0
