"""A session's life through a real gateway: login, inputs, takeover, resume, duplicate login, goodbye."""

from __future__ import annotations

import pytest

from overworld.wire.v1 import client_pb2 as pb
from overworld.wire.v1 import link_pb2
from overworld.wire.v1.link_pb2 import LinkMessage
from overworld.world.home import home_shard
from tests.gateway.arena import Arena, drops, until

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])]


class TestLogin:
    async def test_a_player_is_welcomed_and_sees_its_cells(self, arena: Arena) -> None:
        await arena.worker()
        client = await arena.player(await arena.gateway())
        welcome = client.welcomes[0]
        assert (welcome.world, welcome.title, welcome.contract) == ("test", "meadow", arena.contract.fingerprint)
        assert welcome.last_seq == 0
        assert welcome.grid.view == 64 * 256
        assert [kind.name for kind in welcome.kinds] == ["Sheep", "Cloud", "Weather"]
        assert client.model is not None
        assert client.model.own > 0

    async def test_players_of_all_shards_through_one_gateway(self, arena: Arena) -> None:
        await arena.worker(0, 1)
        await arena.worker(2, 3)
        gateway = await arena.gateway()
        clients = [await arena.player(gateway, name) for shard in arena.shards for name in arena.names_of(shard, 2)]
        homes = {attach.shard for worker in arena.workers for attach in worker.attaches}
        assert homes == set(arena.shards)
        assert all(a.shard == home_shard(a.player, 4) for worker in arena.workers for a in worker.attaches)
        for client in clients:
            assert client.error is None

    async def test_a_player_waits_for_a_worker(self, arena: Arena) -> None:
        client = await arena.socket(await arena.gateway())
        client.hello(arena.token())
        await client.until(lambda: pb.Notice.CODE_SEARCHING in client.notices, "a notice")
        await arena.worker()
        await client.welcomed()
        assert client.notices == [pb.Notice.CODE_SEARCHING, pb.Notice.CODE_RESUMED]

    async def test_but_not_for_ever(self, arena: Arena) -> None:
        client = await arena.socket(await arena.gateway(world_wait_s=0.3))
        client.hello(arena.token())
        assert await client.closed() == 4009

    async def test_a_worker_may_refuse(self, arena: Arena) -> None:
        worker = await arena.worker()
        worker.refuse_with = 1013
        client = await arena.socket(await arena.gateway())
        client.hello(arena.token())
        assert await client.closed() == 1013
        assert "10 seconds" in client.close_reason

    async def test_views_move(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        session = arena.session(client)
        start = arena.world.centers[session]
        for center in (start + 1, start + 2, start + 1, start, start + arena.contract.grid.cells_x):
            worker.move(session, center)
            await arena.sees_all(client)
        assert client.error is None


class TestInputs:
    async def test_inputs_arrive_in_order_and_are_acked(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        for seq in range(1, 11):
            client.input(seq, seq % 2, 1, seen_tick=100 + seq)
        await client.until(lambda: client.acked == 10, "acks")
        session = arena.session(client)
        assert worker.inputs == [(session, seq, 0, 100 + seq, seq % 2, 1) for seq in range(1, 11)]

    async def test_an_input_again_is_not_passed_on(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        for seq in (1, 2, 1, 2, 3):
            client.input(seq, 0, 0)
        await client.until(lambda: client.acked == 3, "acks")
        assert [row[1] for row in worker.inputs] == [1, 2, 3]

    async def test_a_gap_is_a_gap(self, arena: Arena) -> None:
        await arena.worker()
        client = await arena.player(await arena.gateway())
        client.input(1, 0, 0)
        client.input(3, 0, 0)
        assert await client.closed() == 4007

    @pytest.mark.parametrize(
        ("kind", "values"), [(9, (0, 0)), (0, (0,)), (0, (0, 0, 0)), (0, (2, 0)), (0, (0, -1)), (0, (2**31 - 1, 0))]
    )
    async def test_bad_inputs_close(self, arena: Arena, kind: int, values: tuple[int, ...]) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        client.input(1, *values, kind=kind)
        assert await client.closed() == 4006
        assert client.close_reason
        assert not worker.inputs

    async def test_waiting_inputs_are_bounded(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway(inputs_waiting_max=8))
        worker.acking = False
        for seq in range(1, 9):
            client.input(seq, 0, 0)
        await until(lambda: len(worker.inputs) == 8, "inputs")
        assert client.close_code is None
        client.input(9, 0, 0)
        assert await client.closed() == 1008
        assert "wait" in client.close_reason

    async def test_a_clients_ping_is_answered_with_the_servers_clock(self, arena: Arena) -> None:
        await arena.worker()
        client = await arena.player(await arena.gateway())
        client.send(pb.ClientMessage(ping=pb.Ping(nonce=77)))
        await client.until(lambda: any(frame.pongs for frame in client.frames), "a pong")
        (pong,) = [pong for frame in client.frames for pong in frame.pongs]
        assert pong.nonce == 77
        assert pong.server_time_us > 0


class TestEndings:
    async def test_bye_leaves_for_good(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        client.send(pb.ClientMessage(bye=pb.Bye()))
        assert await client.closed() == 1000
        await until(lambda: bool(worker.detaches), "a detach")
        assert [detach.leaving for detach in worker.detaches] == [True]

    async def test_inputs_before_a_bye_count(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway(input_flush_s=0.1))
        client.input(1, 1, 0)
        client.send(pb.ClientMessage(bye=pb.Bye()))
        await until(lambda: bool(worker.detaches), "a detach")
        assert [row[1] for row in worker.inputs] == [1]

    async def test_a_lost_socket_may_come_back(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        client.abort()
        await until(lambda: bool(worker.detaches), "a detach")
        assert [detach.leaving for detach in worker.detaches] == [False]

    @pytest.mark.parametrize("code", [4001, 4008, 4012, 1008])
    async def test_a_worker_ends_a_session(self, arena: Arena, code: int) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        worker.model(arena.session(client)).closed.append((arena.session(client), code))
        assert await client.closed() == code
        assert client.close_reason

    async def test_cells_nobody_looks_at_are_watched_no_more(self, arena: Arena) -> None:
        worker = await arena.worker()
        gateway = await arena.gateway()
        clients = [await arena.player(gateway, name) for name in ("anna", "ben", "cleo")]
        for client in clients:
            client.abort()
        await until(lambda: not any(m.watched for ms in worker._shards.values() for m in ms.values()), "no watches")


class TestResume:
    async def test_a_session_is_taken_up_again_on_another_gateway(self, arena: Arena) -> None:
        worker = await arena.worker()
        first, second = await arena.gateway(), await arena.gateway()
        client = await arena.player(first)
        for seq in (1, 2, 3):
            client.input(seq, 1, 0)
        await client.until(lambda: client.acked == 3, "acks")
        client.abort()
        await until(lambda: bool(worker.detaches), "a detach")
        again = await arena.player(second, resume=client.welcomes[0].resume)
        welcome = again.welcomes[0]
        assert (welcome.session, welcome.last_seq) == (arena.session(client), 3)
        assert [attach.resume for attach in worker.attaches] == [False, True]
        again.input(4, 0, 1)
        await again.until(lambda: again.acked == 4, "an ack")

    async def test_the_old_socket_of_a_resumed_session_is_closed(self, arena: Arena) -> None:
        worker = await arena.worker()
        gateway = await arena.gateway()
        client = await arena.player(gateway)
        again = await arena.player(gateway, resume=client.welcomes[0].resume)
        assert await client.closed() == 4001
        again.input(1, 0, 0)
        await again.until(lambda: again.acked == 1, "an ack")
        assert not worker.detaches

    async def test_a_gateway_that_dies_loses_nothing(self, arena: Arena) -> None:
        worker = await arena.worker()
        first, second = await arena.gateway(), await arena.gateway()
        client = await arena.player(first)
        worker.acking = False
        client.input(1, 1, 0)
        await until(lambda: len(worker.inputs) == 1, "an input")
        await first.kill()
        assert await client.closed() == 0
        worker.acking = True
        again = await arena.player(second, resume=client.welcomes[0].resume)
        for seq in range(again.welcomes[0].last_seq + 1, 4):
            again.input(seq, 1, 0)
        await again.until(lambda: again.acked == 3, "acks")
        assert [row[1] for row in arena.world.applied[arena.session(client)]] == [1, 2, 3]


class TestTakeover:
    async def test_a_killed_worker_is_replaced_without_a_lost_input(self, arena: Arena) -> None:
        first = await arena.worker()
        client = await arena.player(await arena.gateway())
        session = arena.session(client)
        client.input(1, 1, 0)
        await client.until(lambda: client.acked == 1, "an ack")
        first.acking = False
        client.input(2, 1, 0)
        await until(lambda: len(first.inputs) == 2, "an input")
        # The second input waits for its tick, and dies with its worker.
        await first.kill()
        client.input(3, 1, 0)
        second = await arena.worker()
        await client.until(lambda: client.acked == 3, "acks")
        assert [row[1] for row in arena.world.applied[session]] == [1, 2, 3]
        assert [attach.resume for attach in second.attaches] == [True]
        assert len(client.welcomes) == 1
        await arena.sees_all(client)
        assert client.model is not None
        assert {epoch for epoch, _ in client.model.marks.values()} == {2}

    async def test_players_are_told_when_it_takes_long(self, arena: Arena) -> None:
        first = await arena.worker()
        client = await arena.player(await arena.gateway())
        await first.kill()
        await client.until(lambda: client.notices == [pb.Notice.CODE_SEARCHING], "a notice")
        await arena.worker()
        await client.until(lambda: client.notices[1:] == [pb.Notice.CODE_RESUMED], "a notice")

    async def test_who_was_told_that_the_world_stands_hears_from_the_next_owner_that_it_goes_on(
        self, arena: Arena
    ) -> None:
        first = await arena.worker()
        client = await arena.player(await arena.gateway())
        shard = first.attaches[0].shard
        first.tell(LinkMessage(notice=link_pb2.ShardNotice(shard=shard, code=pb.Notice.CODE_STALLED, text="wait")))
        await client.until(lambda: client.notices == [pb.Notice.CODE_STALLED], "a notice")
        second = await arena.worker(name="second")
        for lost in arena.shards:
            first.disown(lost)
        await until(lambda: bool(second.attaches), "an attach")
        await client.until(lambda: client.notices[1:] == [pb.Notice.CODE_RESUMED], "a notice")

    async def test_a_shard_that_moves_while_its_old_worker_lives(self, arena: Arena) -> None:
        first = await arena.worker()
        client = await arena.player(await arena.gateway())
        second = await arena.worker(name="second")
        for shard in arena.shards:
            first.disown(shard)
        await until(lambda: bool(second.attaches), "an attach")
        await arena.sees_all(client)
        client.input(1, 0, 0)
        await client.until(lambda: client.acked == 1, "an ack")

    async def test_a_replaced_owner_that_still_speaks_is_not_heard(self, arena: Arena) -> None:
        await arena.worker()
        client = await arena.player(await arena.gateway())
        await arena.worker(name="second")
        # Nobody told the first worker; the gateway learns of the second from the directory.
        model = client.model
        assert model is not None
        await client.until(lambda: model.marks[0][0] == 2, "the second owner's ticks")
        dropped = drops("output_not_owner")
        tick = model.marks[0][1]
        await client.until(lambda: model.marks[0][1] > tick + 5, "more of them")
        await arena.sees_all(client)
        # The first has gone on all the while; the client would have broken had it heard of it.
        assert drops("output_not_owner") > dropped

    async def test_a_worker_that_breaks_the_format_loses_its_link(self, arena: Arena) -> None:
        worker = await arena.worker()
        client = await arena.player(await arena.gateway())
        link = worker.links[0]
        broken = link_pb2.TickOutput(shard=0, epoch=1, tick=1 << 30, update_cells_u32=b"abc")
        worker.tell(LinkMessage(output=broken))
        await until(lambda: link.closed, "a closed link")
        await until(lambda: len(worker.attaches) == 2, "a new link")
        assert client.close_code is None

    async def test_notices_of_a_shard_reach_those_who_live_there(self, arena: Arena) -> None:
        worker = await arena.worker()
        gateway = await arena.gateway()
        clients = {name: await arena.player(gateway, name) for name in ("anna", "ben", "cleo", "dora", "emil", "finn")}
        homes = {attach.session: attach.shard for attach in worker.attaches}
        shard = homes[arena.session(clients["anna"])]
        notice = link_pb2.ShardNotice(shard=shard, code=pb.Notice.CODE_STALLED, text="wait")
        worker.tell(LinkMessage(notice=notice))
        worker.tell(LinkMessage(notice=link_pb2.ShardNotice(shard=shard, code=99)))
        await clients["anna"].until(lambda: bool(clients["anna"].notices), "a notice")
        marks = {name: client.model.frames for name, client in clients.items() if client.model}
        for name, client in clients.items():
            await client.until(lambda c=client, n=name: c.model.frames > marks[n] + 1, "a later tick")  # type: ignore[misc]
            expected = [pb.Notice.CODE_STALLED] if homes[arena.session(client)] == shard else []
            assert client.notices == expected
