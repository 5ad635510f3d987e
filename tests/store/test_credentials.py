"""Passwords of Redis that expire under load: nothing fails, nothing is cut, whatever the source of tokens does."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

import pytest

from loadtest.expiring import USER, Gate, Issuer, gated_cluster
from loadtest.rotating import Holder
from overworld.errors import SettingsError, StoreUnavailable
from overworld.store.credentials import RotatingCredentials
from overworld.store.local_redis import LocalRedis
from overworld.store.redis_client import open_redis
from overworld.store.redis_connection import Tls
from tests.parts.redis import RedisFactory
from tests.parts.tls import TlsServers

pytestmark = pytest.mark.asyncio


def rotating(issuer: Issuer) -> RotatingCredentials:
    return RotatingCredentials(issuer, look_s=0.1, pause_s_min=0.2, idle_s=1.2)


async def until(true: Callable[[], bool], seconds_max: float = 30) -> None:
    deadline = time.monotonic() + seconds_max
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_passwords_change_under_load_and_no_connection_is_cut(redis_server: LocalRedis) -> None:
    issuer = Issuer([redis_server.port], life_s=4.0)
    credentials = rotating(issuer)
    await credentials.start()
    async with (
        Gate(redis_server.port, issuer) as gate,
        Holder(gate.url, credentials, cluster=False, subscriber_port=gate.port) as holder,
    ):
        opened = gate.connections
        holder.start()
        await until(lambda: issuer.issued >= 5)
        await holder.stop()
        toll = holder.toll
        assert toll.failed == []
        assert gate.cut == 0
        assert gate.connections <= opened + 4  # the lane, and what the load itself opened
        assert gate.auths >= 4 * opened
        assert toll.appends > 100
        assert toll.news_heard > 20
        assert toll.subscriber_closed == 0
    await credentials.close()


async def test_passwords_change_on_a_cluster_too(redis_factory: RedisFactory) -> None:
    async with gated_cluster(redis_factory, 4.0) as (issuer, gates):
        credentials = rotating(issuer)
        await credentials.start()
        async with Holder(gates[0].url, credentials, cluster=True, subscriber_port=gates[0].port) as holder:
            holder.start()
            await until(lambda: issuer.issued >= 3)
            await holder.stop()
            assert holder.toll.failed == []
            assert [gate.cut for gate in gates] == [0, 0, 0]
            assert min(gate.auths for gate in gates) >= 3
        await credentials.close()


async def test_while_the_source_fails_the_old_token_stays_and_then_all_goes_on(redis_server: LocalRedis) -> None:
    issuer = Issuer([redis_server.port], life_s=5.0)
    credentials = rotating(issuer)
    await credentials.start()
    async with (
        Gate(redis_server.port, issuer) as gate,
        Holder(gate.url, credentials, cluster=False, subscriber_port=gate.port) as holder,
    ):
        holder.start(2)
        issuer.fails = True
        await until(lambda: issuer.refused >= 2)
        issuer.fails = False
        await until(lambda: issuer.issued >= 3)
        await holder.stop()
        assert holder.toll.failed == []
        assert gate.cut == 0
    await credentials.close()


async def test_a_password_taken_back_with_its_connections_is_replaced_at_once(redis_server: LocalRedis) -> None:
    issuer = Issuer([redis_server.port], life_s=600.0)
    credentials = rotating(issuer)
    await credentials.start()
    client = await open_redis(redis_server.url, credentials=credentials)
    holder = Holder(redis_server.url, credentials, cluster=False, subscriber_port=redis_server.port)
    async with holder:
        holder.start(2)
        await until(lambda: holder.toll.appends > 20)
        assert await issuer.revoke() > 3
        before = holder.toll.appends
        await until(lambda: holder.toll.appends > before + 20)
        assert holder.toll.failed == []
        assert 2 <= issuer.issued <= 4  # doubts come from many connections; few of them are asked about
    await client.aclose()
    await credentials.close()


async def test_without_a_first_token_the_process_does_not_start(redis_server: LocalRedis) -> None:
    issuer = Issuer([redis_server.port], life_s=5.0)
    issuer.fails = True
    with pytest.raises(StoreUnavailable, match=r"no token for Redis .*issuer is away"):
        await RotatingCredentials(issuer).start()


async def test_tokens_and_a_password_in_the_address_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="tokens are to be used"):
        await open_redis(f"redis://{USER}:x@127.0.0.1:1/0", credentials=RotatingCredentials(Issuer([], 1.0)))


async def test_a_certificate_of_an_unknown_authority_is_told_in_one_line(tls_cluster: TlsServers) -> None:
    with pytest.raises(StoreUnavailable, match=r"certificate that is not trusted .*redis_ca_file") as caught:
        await open_redis(tls_cluster.url(), cluster=True)
    assert "\n" not in str(caught.value)


async def test_a_certificate_for_another_host_is_refused(tls_cluster: TlsServers) -> None:
    with pytest.raises(StoreUnavailable, match="certificate that is not trusted"):
        await open_redis(tls_cluster.url("127.0.0.1"), cluster=True, ca_file=tls_cluster.ca_file)


async def test_checking_of_certificates_cannot_be_switched_off() -> None:
    with pytest.raises(SettingsError, match="always checked"):
        await open_redis("rediss://localhost:1/0?ssl_cert_reqs=none")
    assert Tls.to("localhost").context.verify_mode is ssl.CERT_REQUIRED
    with pytest.raises(SettingsError, match="no certificates can be read"):
        Tls.to("localhost", "/nowhere/ca.pem")


async def test_a_cluster_opened_as_one_server_is_refused(tls_cluster: TlsServers) -> None:
    with pytest.raises(SettingsError, match="OVERWORLD_REDIS_CLUSTER"):
        await open_redis(tls_cluster.url(), ca_file=tls_cluster.ca_file)
