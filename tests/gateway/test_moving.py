"""Players who go from shard to shard, through a real gateway: nothing they sent is lost, nothing they see breaks."""

from __future__ import annotations

import pytest

from overworld.gateway.service import Gateway
from overworld.gateway.tokens import GUEST_ISSUER, player_id
from overworld.wire.v1 import client_pb2 as pb
from overworld.wire.v1 import link_pb2
from overworld.wire.v1.link_pb2 import LinkMessage
from overworld.world.home import home_shard
from tests.gateway.arena import Arena, drops, moves, until
from tests.gateway.fake_worker import FakeWorker
from tests.gateway.raw_client import RawClient

pytestmark = pytest.mark.asyncio

ANNA = home_shard(player_id(GUEST_ISSUER, "anna"), 4)
THERE, BEYOND, BACK = ((ANNA + step) % 4 for step in (1, 2, 3))


async def between_two(arena: Arena) -> tuple[FakeWorker, FakeWorker, Gateway, RawClient]:
    """Anna plays in her home shard, which has one worker; the other shards have another."""
    first = await arena.worker(ANNA)
    second = await arena.worker(*(shard for shard in arena.shards if shard != ANNA))
    gateway = await arena.gateway()
    return first, second, gateway, await arena.player(gateway)


def applied(arena: Arena, client: RawClient) -> list[int]:
    """The numbers of the inputs that have changed the world, in order."""
    return [row[1] for row in arena.world.applied[arena.session(client)]]


class TestCrossing:
    async def test_inputs_go_on_where_the_player_went(self, arena: Arena) -> None:
        first, second, _, client = await between_two(arena)
        session, before = arena.session(client), moves()
        client.input(1, 1, 0)
        await client.until(lambda: client.acked == 1, "an ack")
        first.acking = False
        client.input(2, 1, 0)
        await until(lambda: len(first.inputs) == 2, "an input")
        # The second input waits for its tick there when the player goes.
        number = first.cross(session, THERE)
        client.input(3, 0, 1)
        await client.until(lambda: client.acked == 3, "acks")
        assert applied(arena, client) == [1, 2, 3]
        (attach,) = second.attaches
        assert (attach.shard, attach.session, attach.resume) == (THERE, session, True)
        assert (attach.after_shard, attach.after_number) == (ANNA, number)
        assert moves() == before + 1
        assert not first.detaches

    async def test_the_client_notices_nothing_but_new_cells(self, arena: Arena) -> None:
        first, _, _, client = await between_two(arena)
        first.cross(arena.session(client), THERE)
        await arena.sees_all(client)
        client.input(1, 0, 0)
        await client.until(lambda: client.acked == 1, "an ack")
        assert (client.notices, len(client.welcomes), client.close_code) == ([], 1, None)
        assert client.error is None

    async def test_the_view_stays_until_the_next_shard_moves_it(self, arena: Arena) -> None:
        first, second, _, client = await between_two(arena)
        session = arena.session(client)
        assert client.model is not None
        held = set(client.model.held)
        arena.world.delivering = False
        first.cross(session, THERE)
        await until(lambda: bool(second.attaches), "an attach")
        frames, seen = client.model.frames, dict(client.model.seen)
        await client.until(lambda: client.model is not None and client.model.frames > frames + 8, "more ticks")
        assert set(client.model.held) == held
        assert client.model.seen == seen
        arena.world.delivering = True
        await arena.sees_all(client)

    async def test_there_and_back_and_on(self, arena: Arena) -> None:
        await arena.worker()
        (worker,) = arena.workers
        client = await arena.player(await arena.gateway())
        session = arena.session(client)
        for seq, shard in enumerate([THERE, ANNA, BACK, BEYOND, ANNA, THERE, BEYOND], start=1):
            worker.cross(session, shard)
            client.input(seq, 0, 0)
            await client.until(lambda n=seq: client.acked == n, "an ack")  # type: ignore[misc]
            assert worker.sessions[session].shard == shard
        await arena.sees_all(client)
        assert applied(arena, client) == list(range(1, 8))

    async def test_the_next_shards_worker_dies_before_it_has_the_player(self, arena: Arena) -> None:
        first, second, _, client = await between_two(arena)
        session = arena.session(client)
        first.acking = False
        client.input(1, 1, 0)
        await until(lambda: len(first.inputs) == 1, "an input")
        arena.world.delivering = False
        number = first.cross(session, THERE)
        await until(lambda: bool(second.attaches), "an attach")
        await second.kill()
        client.input(2, 1, 0)
        third = await arena.worker(*(shard for shard in arena.shards if shard != ANNA))
        await until(lambda: bool(third.attaches), "an attach")
        client.input(3, 1, 0)
        arena.world.delivering = True
        await client.until(lambda: client.acked == 3, "acks")
        assert applied(arena, client) == [1, 2, 3]
        assert {(a.after_shard, a.after_number) for a in (*second.attaches, *third.attaches)} == {(ANNA, number)}
        await arena.sees_all(client)

    async def test_once_joined_it_waits_for_no_message_any_more(self, arena: Arena) -> None:
        first, second, _, client = await between_two(arena)
        first.cross(arena.session(client), THERE)
        client.input(1, 0, 0)
        await client.until(lambda: client.acked == 1, "an ack")
        await second.kill()
        third = await arena.worker(*(shard for shard in arena.shards if shard != ANNA))
        client.input(2, 0, 0)
        await client.until(lambda: client.acked == 2, "an ack")
        assert [(a.shard, a.resume, a.after_number) for a in third.attaches] == [(THERE, True, 0)]

    async def test_a_shard_nobody_here_knew_is_looked_for(self, arena: Arena) -> None:
        first = await arena.worker(ANNA)
        client = await arena.player(await arena.gateway())
        first.cross(arena.session(client), THERE)
        client.input(1, 0, 0)
        await client.until(lambda: client.notices == [pb.Notice.CODE_SEARCHING], "a notice")
        await arena.worker(*(shard for shard in arena.shards if shard != ANNA))
        await client.until(lambda: client.acked == 1, "an ack")
        assert client.notices == [pb.Notice.CODE_SEARCHING, pb.Notice.CODE_RESUMED]

    async def test_but_not_for_ever(self, arena: Arena) -> None:
        first = await arena.worker(ANNA)
        client = await arena.player(await arena.gateway(world_wait_s=0.3))
        first.cross(arena.session(client), THERE)
        assert await client.closed() == 4009


class TestFollowing:
    async def test_a_login_finds_a_player_who_lives_elsewhere(self, arena: Arena) -> None:
        worker = await arena.worker()
        arena.world.carry(player_id(GUEST_ISSUER, "anna"), ANNA, THERE)
        arena.world.carry(player_id(GUEST_ISSUER, "anna"), THERE, BEYOND)
        client = await arena.player(await arena.gateway())
        asked = [(a.shard, a.resume, a.after_shard, a.after_number) for a in worker.attaches]
        assert asked == [(ANNA, False, 0, 0), (THERE, False, ANNA, 1), (BEYOND, False, THERE, 1)]
        client.input(1, 0, 0)
        await client.until(lambda: client.acked == 1, "an ack")
        assert len(client.welcomes) == 1

    async def test_a_resumed_session_is_found_the_same_way(self, arena: Arena) -> None:
        worker = await arena.worker()
        first, second = await arena.gateway(), await arena.gateway()
        client = await arena.player(first)
        session = arena.session(client)
        worker.cross(session, THERE)
        client.input(1, 0, 0)
        await client.until(lambda: client.acked == 1, "an ack")
        client.abort()
        await until(lambda: bool(worker.detaches), "a detach")
        assert worker.detaches[0].shard == THERE
        asked = len(worker.attaches)
        again = await arena.player(second, resume=client.welcomes[0].resume)
        assert (again.welcomes[0].session, again.welcomes[0].last_seq) == (session, 1)
        assert [(a.shard, a.resume) for a in worker.attaches[asked:]] == [(ANNA, True), (THERE, True)]

    async def test_a_login_that_runs_in_circles_ends(self, arena: Arena) -> None:
        worker = await arena.worker()
        player = player_id(GUEST_ISSUER, "anna")
        arena.world.carry(player, ANNA, THERE)
        arena.world.went[THERE, player] = (ANNA, 1)
        arena.world.sent[THERE, ANNA] = 1
        client = await arena.socket(await arena.gateway(world_wait_s=0.3))
        client.hello(arena.token())
        assert await client.closed() == 4009
        assert len(worker.attaches) > 2


class TestStale:
    async def test_a_move_from_a_shard_the_session_has_left(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        session, link = arena.session(client), worker.links[0]
        worker.cross(session, THERE)
        client.input(1, 0, 0)
        await client.until(lambda: client.acked == 1, "an ack")
        asked, dropped = len(worker.attaches), drops("move_stale")
        worker._model(link, ANNA).moved += [(session, BEYOND, 5), (session + 1, BEYOND, 6)]
        await until(lambda: drops("move_stale") == dropped + 2, "both ignored")
        client.input(2, 0, 0)
        await client.until(lambda: client.acked == 2, "an ack")
        assert len(worker.attaches) == asked

    async def test_a_shard_the_session_has_left_cannot_end_it(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        session, link = arena.session(client), worker.links[0]
        worker.cross(session, THERE)
        client.input(1, 0, 0)
        await client.until(lambda: client.acked == 1, "an ack")
        before = drops("close_stale"), drops("refusal_stale")
        worker._model(link, ANNA).closed.append((session, 4008))
        refused = link_pb2.AttachRefused(shard=ANNA, session=session, close_code=4008)
        link.send(LinkMessage(refused=refused))
        await until(lambda: (drops("close_stale"), drops("refusal_stale")) == (before[0] + 1, before[1] + 1), "ignored")
        client.input(2, 0, 0)
        await client.until(lambda: client.acked == 2, "an ack")

    async def test_a_session_that_moves_and_ends_in_one_tick_has_ended(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        session = arena.session(client)
        worker.model(session).closed.append((session, 4012))
        worker.cross(session, THERE)
        assert await client.closed() == 4012


class TestLeavingBetweenShards:
    async def test_the_next_shard_is_told(self, arena: Arena) -> None:
        first, second, _, client = await between_two(arena)
        arena.world.delivering = False
        first.cross(arena.session(client), THERE)
        await until(lambda: bool(second.attaches), "an attach")
        client.send(pb.ClientMessage(bye=pb.Bye()))
        assert await client.closed() == 1000
        await until(lambda: bool(second.detaches), "a detach")
        assert [(detach.shard, detach.leaving) for detach in second.detaches] == [(THERE, True)]
        assert not first.detaches

    async def test_who_left_before_the_gateway_heard_of_the_move_is_reported_where_he_went(self, arena: Arena) -> None:
        first, second, gateway, client = await between_two(arena)
        # Somebody there keeps the way there open, as a view over the border does.
        await arena.player(gateway, arena.names_of(THERE, 1)[0])
        session = arena.session(client)
        first.paused = True
        number = first.cross(session, THERE)
        client.send(pb.ClientMessage(bye=pb.Bye()))
        assert await client.closed() == 1000
        await until(lambda: bool(first.detaches), "the shard that has him no more is told")
        first.paused = False
        await until(lambda: bool(second.detaches), "and then the other")
        assert [(detach.shard, detach.leaving) for detach in second.detaches] == [(THERE, True)]
        attach = second.attaches[-1]
        assert (attach.after_shard, attach.after_number) == (ANNA, number)

    async def test_where_it_cannot_be_reached_that_is_counted(self, arena: Arena) -> None:
        first = await arena.worker(ANNA)
        client = await arena.player(await arena.gateway())
        dropped, before = drops("detach_unreachable"), moves()
        first.cross(arena.session(client), THERE)
        await until(lambda: moves() == before + 1, "the move")
        client.abort()
        await until(lambda: drops("detach_unreachable") == dropped + 1, "the count")
        assert not first.detaches

    async def test_another_socket_may_take_it_up(self, arena: Arena) -> None:
        first, second, gateway, client = await between_two(arena)
        arena.world.delivering = False
        first.cross(arena.session(client), THERE)
        await until(lambda: bool(second.attaches), "an attach")
        again = await arena.socket(gateway)
        again.hello("", resume=client.welcomes[0].resume)
        assert await client.closed() == 4001
        arena.world.delivering = True
        await again.welcomed()
        again.input(1, 0, 0)
        await again.until(lambda: again.acked == 1, "an ack")
        assert applied(arena, again) == [1]
