"""The gauges of a worker, made when /metrics is asked for from what is there at that moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from overworld import __version__, telemetry
from overworld.shard.core import ShardCore
from overworld.worker.host import Phase, ShardHost
from overworld.worker.load import LoadBook
from overworld.world.contract import WorldContract

Hosts = Mapping[int, ShardHost]


def entities_of(core: ShardCore) -> int:
    """Entities of a shard."""
    return sum(len(table) for table in core.shard.tables)


def players_of(core: ShardCore) -> int:
    """Players of a shard who have a socket."""
    return int((core.shard.players.online > 0).sum())


def introduce(contract: WorldContract) -> None:
    """What does not change while the process runs."""
    telemetry.process.labels("worker", __version__, contract.title, str(contract.title_version)).set(1)
    telemetry.tick_interval_seconds.set(contract.grid.tick_interval_us / 1e6)
    telemetry.world_shards.set(contract.grid.shard_count)
    telemetry.dilation.set(1)


def refresh(
    hosts: Hosts,
    loads: LoadBook,
    standby_lags: Iterable[int | None],
    queues: Mapping[str, float],
    ticks_held_max: int,
) -> None:
    """Bring the gauges up to date. `standby_lags`: in ticks, None without a state; `queues`: how full those are that
    are no shard's, 0 to 1.
    """
    every = list(hosts.values())
    cores = [host.core for host in every if host.core is not None]
    for phase in Phase:
        telemetry.shards_owned.labels(phase.value).set(sum(host.phase is phase for host in every))
    telemetry.entities.set(sum(entities_of(core) for core in cores))
    telemetry.players_online.set(sum(players_of(core) for core in cores))
    telemetry.cells_watched.set(sum(host.reception.watches.watched for host in every))
    telemetry.ticks_held.set(sum(host.held for host in every))
    telemetry.outbox_waiting.set(sum(host.outbox_waiting for host in every))
    telemetry.snapshot_age_seconds.set(max((h.snapshot_age_s for h in every if h.core is not None), default=0.0))
    telemetry.archive_lag_ticks.set(max((host.archive_lag_ticks for host in every), default=0))
    lags = list(standby_lags)
    telemetry.standbys.labels("ready").set(sum(lag is not None for lag in lags))
    telemetry.standbys.labels("not_ready").set(sum(lag is None for lag in lags))
    telemetry.standby_lag_ticks.set(max((lag for lag in lags if lag is not None), default=0))
    _queues([{**h.reception.fill, "results_held": h.held / ticks_held_max} for h in every], queues)
    _single_shards(hosts, loads)


def _queues(of_shards: list[dict[str, float]], others: Mapping[str, float]) -> None:
    for queue in ("inbox_inputs", "inbox_events", "mailbox", "results_held"):
        telemetry.queue_fill.labels(queue).set(max((fill[queue] for fill in of_shards), default=0.0))
    for queue, fill in others.items():
        telemetry.queue_fill.labels(queue).set(fill)


def _single_shards(hosts: Hosts, loads: LoadBook) -> None:
    """The shards that cost most; what was shown of others goes."""
    running = [shard for shard, host in hosts.items() if host.core is not None]
    shown = sorted(running, key=lambda shard: (-(loads.cost(shard) or 0.0), shard))[: telemetry.SHARDS_SHOWN_MAX]
    gauges = (
        telemetry.shard_load, telemetry.shard_players, telemetry.shard_entities, telemetry.shard_snapshot_age_seconds,
    )  # fmt: skip
    for gauge in gauges:
        gauge.clear()
    for shard in shown:
        core = hosts[shard].core
        assert core is not None
        values = ((loads.cost(shard) or 0.0) / 1000, players_of(core), entities_of(core), hosts[shard].snapshot_age_s)
        for gauge, value in zip(gauges, values, strict=True):
            gauge.labels(str(shard)).set(value)
