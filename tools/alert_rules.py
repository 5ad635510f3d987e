"""The alert rules, as a table: what is asked, who is woken, and series that raise each and that do not.

Rules go on Azure's managed Prometheus as on any other. `increase` and `rate` see a counter's first event only because
telemetry.py lets what is asked for here begin at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

ONE = 'instance="a"'
CRASHES = 'overworld_shard_ended_total{reason=~"failed|crashed|title_failed"}'
DROPS = 'overworld_gateway_dropped_total{reason=~"queue_full|link_message"}'
OWNED = "sum by (namespace) (overworld_shards_owned)"
SHARED = ("sockets", "handshakes")
"""Queues of a gateway that alerts of their own watch, or none: a full one turns strangers away."""
EXPIRES = "overworld_redis_token_expires_seconds"


@dataclass(frozen=True)
class Alert:
    """One rule. `bad`, `good`: by series, promtool's values that raise it and that do not; `labels`: what else than the
    severity it then carries.
    """

    name: str
    query: str
    for_minutes: int
    severity: str
    section: str
    summary: str
    bad: dict[str, str]
    good: dict[str, str]
    labels: tuple[str, ...] = ("instance",)


def one(metric: str, values: str, labels: str = "") -> dict[str, str]:
    """A single series of process "a"."""
    return {f"{metric}{{{ONE}{labels}}}": values}


def buckets(metric: str, bound: str, within: str) -> dict[str, str]:
    """A histogram whose observations, 60 a minute, are within a bound or not."""
    part = {"all": "0+60x40", "half": "0+30x40"}[within]
    return {f'{metric}_bucket{{{ONE},le="{bound}"}}': part, f'{metric}_bucket{{{ONE},le="+Inf"}}': "0+60x40"}


def grows(metric: str, minutes: int = 10) -> str:
    """A counter that went up at all."""
    return f"sum by (instance) (increase({metric}[{minutes}m])) > 0"


def speed(metric: str) -> str:
    """A counter's increase a second."""
    return f"sum by (instance) (rate({metric}[5m]))"


def within(metric: str, bound: str) -> str:
    """The part of a histogram's observations of the last minutes that is within a bound."""
    rates = [f"sum by (instance) (rate({metric}_bucket{{le={le}}}[5m]))" for le in (f'"{bound}"', '"+Inf"')]
    return f"{rates[0]} / {rates[1]}"


def counted(name: str, metric: str, severity: str, section: str, summary: str, minutes: int = 10) -> Alert:
    """A counter that is to stand still."""
    return Alert(
        name, grows(metric, minutes), 0, severity, section, summary, one(metric, "0+1x40"), one(metric, "7x40")
    )


ALERTS = (
    Alert(
        "ProcessDown",
        'up{job=~".*overworld.*"} == 0',
        1,
        "critical",
        "Scale",
        "A worker or gateway does not answer its metrics port.",
        {'up{job="overworld",instance="a"}': "0x40"},
        {'up{job="overworld",instance="a"}': "1x40"},
        ("instance", "job"),
    ),
    *(
        Alert(
            f"No{role.capitalize()}s",
            f'absent(overworld_process{{role="{role}"}})',
            2,
            "critical",
            "Scale",
            f"No {role} is there at all, or nothing scrapes it: nobody plays, or nobody watches.",
            one("overworld_process", "1x5 _x35", f',role="{role}"'),
            one("overworld_process", "1x40", f',role="{role}"'),
            ("role",),
        )
        for role in ("worker", "gateway")
    ),
    Alert(
        "ShardWithoutOwner",
        f"max by (namespace) (overworld_world_shards) - {OWNED} > 0",
        1,
        "critical",
        "Shard without an owner",
        "Shards are run by nobody: the world stands still there.",
        {**one("overworld_world_shards", "16x40"), **one("overworld_shards_owned", "15x40", ',phase="running"')},
        {
            **one("overworld_world_shards", "16x40"),
            **one("overworld_shards_owned", "12x40", ',phase="running"'),
            **one("overworld_shards_owned", "4x40", ',phase="asleep"'),
        },
        (),
    ),
    Alert(
        "ShardCrashes",
        f"sum by (instance, reason) (increase({CRASHES}[10m])) > 0",
        0,
        "critical",
        "Shard without an owner",
        "A shard's loop ended by an error of ours, of the title or of a store; it is tried again.",
        one("overworld_shard_ended_total", "0+1x40", ',reason="crashed"'),
        one("overworld_shard_ended_total", "0+1x40", ',reason="moved"'),
        ("instance", "reason"),
    ),
    Alert(
        "ShardsStandStill",
        'sum by (instance) (overworld_shards_owned{phase="stalled"}) > 0',
        1,
        "critical",
        "Redis failover",
        "Shards stand still: their ticks cannot be made durable. Players are told.",
        one("overworld_shards_owned", "2x40", ',phase="stalled"'),
        one("overworld_shards_owned", "2x40", ',phase="running"'),
    ),
    counted(
        "JournalsLost",
        "overworld_journals_lost_total",
        "critical",
        "Redis failover",
        "Redis lost a shard's journal; it went on from what its owner or a snapshot had.",
    ),
    counted(
        "MailLost",
        "overworld_mail_lost_total",
        "critical",
        "Redis failover",
        "Messages between shards are gone that the store had promised to keep.",
        60,
    ),
    counted(
        "ReplayDiverged",
        "overworld_divergence_total",
        "critical",
        "Restore to a time",
        "A replay disagreed with the journal: two versions of one step, or a broken machine.",
        60,
    ),
    counted(
        "SnapshotCorrupt",
        "overworld_snapshot_corrupt_total",
        "warning",
        "Blob outage",
        "A snapshot or manifest was found corrupt; the one before it was used.",
        60,
    ),
    counted(
        "WritesFenced",
        "overworld_journal_fenced_total",
        "warning",
        "Redis failover",
        "A worker wrote to a shard that another one owns: it had stood still, or was cut off.",
    ),
    Alert(
        "WritesRefused",
        "sum by (instance, reason) (rate(overworld_journal_refused_total[5m])) > 0.02",
        2,
        "critical",
        "Redis failover",
        "Redis refuses journal appends, or they are given up: full, out of replicas, or not there.",
        one("overworld_journal_refused_total", "0+6x40", ',reason="not_replicated"'),
        one("overworld_journal_refused_total", "7x40", ',reason="not_replicated"'),
        ("instance", "reason"),
    ),
    Alert(
        "RedisReconnects",
        'sum by (instance) (rate(overworld_journal_retries_total{reason="connection"}[5m])) > 0.02',
        5,
        "warning",
        "Redis failover",
        "Connections to Redis are lost again and again: appends are sent anew each time.",
        one("overworld_journal_retries_total", "0+6x40", ',reason="connection"'),
        one("overworld_journal_retries_total", "0+6x40", ',reason="unknown_script"'),
    ),
    Alert(
        "WorkersTakenOver",
        'sum(increase(overworld_takeovers_total{why=~"silent|suspect"}[10m])) > 3',
        0,
        "warning",
        "Redis failover",
        "Several shards were taken over from workers that fell silent.",
        one("overworld_takeovers_total", "0+1x40", ',why="silent"'),
        one("overworld_takeovers_total", "0+1x40", ',why="new"'),
        (),
    ),
    Alert(
        "AppendsSlow",
        f"{within('overworld_journal_append_seconds', '0.05')} < 0.99",
        10,
        "warning",
        "Redis failover",
        "More than one append in a hundred takes longer than 50 ms.",
        buckets("overworld_journal_append_seconds", "0.05", "half"),
        buckets("overworld_journal_append_seconds", "0.05", "all"),
    ),
    Alert(
        "RedisTokenExpires",
        f"({EXPIRES} - time() < 300) and {EXPIRES} > 0",
        0,
        "critical",
        "Redis failover",
        "The token for Redis was not renewed: connections end with it.",
        one("overworld_redis_token_expires_seconds", "600x40"),
        one("overworld_redis_token_expires_seconds", "9000x40"),
    ),
    Alert(
        "SnapshotsOld",
        "overworld_snapshot_age_seconds > 300",
        5,
        "critical",
        "Blob outage",
        "A shard has no new snapshot for five minutes: the journal in Redis grows.",
        one("overworld_snapshot_age_seconds", "400x40"),
        one("overworld_snapshot_age_seconds", "20x40"),
    ),
    Alert(
        "ArchiveLags",
        "overworld_archive_lag_ticks * overworld_tick_interval_seconds > 300",
        5,
        "warning",
        "Blob outage",
        "The archive is five minutes behind: the journal in Redis grows.",
        {**one("overworld_archive_lag_ticks", "9000x40"), **one("overworld_tick_interval_seconds", "0.05x40")},
        {**one("overworld_archive_lag_ticks", "5000x40"), **one("overworld_tick_interval_seconds", "0.05x40")},
    ),
    counted(
        "ArchiveGaps",
        "overworld_archive_gaps_total",
        "warning",
        "Blob outage",
        "Ticks were gone before they were archived: the world cannot be restored to these.",
        60,
    ),
    Alert(
        "BlobFails",
        "sum by (instance) (rate(overworld_blob_failures_total[5m])) > 0.1",
        5,
        "warning",
        "Blob outage",
        "Blob storage fails again and again.",
        one("overworld_blob_failures_total", "0+60x40"),
        one("overworld_blob_failures_total", "0+1x40"),
    ),
    Alert(
        "TicksLate",
        f"{within('overworld_tick_late_seconds', '0.05')} < 0.99",
        5,
        "warning",
        "Late ticks",
        "More than one tick in a hundred begins over 50 ms late: players see the world stutter.",
        buckets("overworld_tick_late_seconds", "0.05", "half"),
        buckets("overworld_tick_late_seconds", "0.05", "all"),
    ),
    Alert(
        "TickBudgetNearlyUsed",
        f"{within('overworld_tick_budget_used', '0.8')} < 0.95",
        10,
        "warning",
        "Late ticks",
        "One tick in twenty takes more than four fifths of its time: the next players bring time dilation.",
        buckets("overworld_tick_budget_used", "0.8", "half"),
        buckets("overworld_tick_budget_used", "0.8", "all"),
    ),
    Alert(
        "TicksSkipped",
        f"{speed('overworld_ticks_skipped_total')} > 0.1",
        2,
        "critical",
        "Late ticks",
        "Shards skip ticks: they are further behind than time dilation can make up.",
        one("overworld_ticks_skipped_total", "0+60x40"),
        one("overworld_ticks_skipped_total", "9x40"),
    ),
    Alert(
        "TicksOverBudget",
        f"{speed('overworld_tick_over_budget_total')} / {speed('overworld_ticks_total')} > 0.01",
        5,
        "warning",
        "Late ticks",
        "More than one tick in a hundred takes longer than a tick may.",
        {**one("overworld_tick_over_budget_total", "0+60x40"), **one("overworld_ticks_total", "0+1200x40")},
        {**one("overworld_tick_over_budget_total", "0+1x40"), **one("overworld_ticks_total", "0+1200x40")},
    ),
    Alert(
        "TimeDilates",
        "overworld_dilation > 1",
        5,
        "warning",
        "Hot shard",
        "A worker or its gateways do not keep up: its part of the world runs slower.",
        one("overworld_dilation", "1.5x40"),
        one("overworld_dilation", "1x40"),
    ),
    Alert(
        "QueueFills",
        f'max by (instance, queue) (overworld_queue_fill{{queue!~"{"|".join(SHARED)}"}}) > 0.8',
        5,
        "warning",
        "Late ticks",
        "A bounded queue is nearly full; past it, what comes is refused.",
        one("overworld_queue_fill", "0.9x40", ',queue="inbox_inputs"'),
        one("overworld_queue_fill", "0.2x40", ',queue="inbox_inputs"'),
        ("instance", "queue"),
    ),
    counted(
        "ProcessStoodStill",
        "overworld_loop_gaps_total",
        "warning",
        "Late ticks",
        "A worker's process stood still for half a lease or longer.",
    ),
    Alert(
        "WorldPaused",
        "max by (instance) (overworld_shards_paused) > 0",
        15,
        "warning",
        "Hot shard",
        "An operator let the world stand still a quarter of an hour ago: overworld admin resume.",
        one("overworld_shards_paused", "1x40"),
        one("overworld_shards_paused", "0x40"),
    ),
    Alert(
        "VersionsMixed",
        "count by (namespace) (count by (namespace, version, title_version) (overworld_process)) > 1",
        20,
        "warning",
        "Upgrade",
        "Two versions have run beside each other for long: an upgrade was left half done.",
        {
            **one("overworld_process", "1x40", ',role="worker",version="1",title_version="1"'),
            **one("overworld_process", "1x40", ',role="worker",version="1",title_version="2"'),
        },
        {
            **one("overworld_process", "1x40", ',role="worker",version="1",title_version="1"'),
            **one("overworld_process", "1x40", ',role="gateway",version="1",title_version="1"'),
        },
        (),
    ),
    Alert(
        "GatewayLate",
        f"{within('overworld_gateway_loop_late_seconds', '0.05')} < 0.99",
        10,
        "warning",
        "Scale",
        "A gateway's event loop is late: it has too many players.",
        buckets("overworld_gateway_loop_late_seconds", "0.05", "half"),
        buckets("overworld_gateway_loop_late_seconds", "0.05", "all"),
    ),
    Alert(
        "PlayersQueue",
        "overworld_gateway_queue_length > 0",
        5,
        "warning",
        "Scale",
        "New players wait for room in the world.",
        one("overworld_gateway_queue_length", "4x40"),
        one("overworld_gateway_queue_length", "0x40"),
    ),
    Alert(
        "SocketsNearlyFull",
        'max by (instance) (overworld_queue_fill{queue="sockets"}) > 0.9',
        2,
        "critical",
        "Scale",
        "A gateway has nine tenths of the sockets it may have; past them new players are told to try later.",
        one("overworld_queue_fill", "0.95x40", ',queue="sockets"'),
        one("overworld_queue_fill", "0.95x40", ',queue="session_inputs"'),
    ),
    Alert(
        "GatewayDrops",
        f"sum by (instance, reason) (rate({DROPS}[5m])) > 0.1",
        2,
        "critical",
        "Scale",
        "A gateway turns new players away from a full queue, or cannot read what its workers send.",
        one("overworld_gateway_dropped_total", "0+60x40", ',reason="queue_full"'),
        one("overworld_gateway_dropped_total", "0+60x40", ',reason="behind"'),
        ("instance", "reason"),
    ),
    Alert(
        "LinksOverflow",
        f"{speed('overworld_link_dropped_total')} > 1",
        2,
        "warning",
        "Late ticks",
        "Messages between processes are not sent: a link is closed, or the other side does not read.",
        one("overworld_link_dropped_total", "0+120x40"),
        one("overworld_link_dropped_total", "0+6x40"),
    ),
    Alert(
        "BacklogGrows",
        "overworld_gateway_backlog_bytes / (overworld_gateway_sockets > 20) > 65536",
        5,
        "warning",
        "Slow readers",
        "The clients of a gateway have 64 KiB unread each on average: its line is full, or theirs.",
        {**one("overworld_gateway_backlog_bytes", "9000000x40"), **one("overworld_gateway_sockets", "100x40")},
        {**one("overworld_gateway_backlog_bytes", "900000x40"), **one("overworld_gateway_sockets", "100x40")},
    ),
    Alert(
        "PlayersBehind",
        "overworld_gateway_behind / (overworld_gateway_sockets > 20) > 0.1",
        5,
        "warning",
        "Slow readers",
        "One player in ten does not read as fast as updates come.",
        {**one("overworld_gateway_behind", "30x40"), **one("overworld_gateway_sockets", "100x40")},
        {**one("overworld_gateway_behind", "3x40"), **one("overworld_gateway_sockets", "100x40")},
    ),
    Alert(
        "SocketsRefused",
        "sum by (instance) (rate(overworld_gateway_refusals_total[5m])) > 10",
        5,
        "warning",
        "Attack on the gateways",
        "A gateway turns away more than ten sockets a second.",
        one("overworld_gateway_refusals_total", "0+900x40"),
        one("overworld_gateway_refusals_total", "0+60x40"),
    ),
    Alert(
        "SuspiciousStreams",
        "sum by (instance) (rate(overworld_gateway_suspicious_total[5m])) > 1",
        5,
        "warning",
        "Attack on the gateways",
        "Clients send what no client of ours sends.",
        one("overworld_gateway_suspicious_total", "0+90x40"),
        one("overworld_gateway_suspicious_total", "0+1x40"),
    ),
)

OF_THE_CLOCK = frozenset(
    ("AppendsSlow", "TicksLate", "TickBudgetNearlyUsed", "TicksSkipped", "TicksOverBudget", "TimeDilates", "QueueFills",
     "ProcessStoodStill", "GatewayLate", "PlayersBehind", "BacklogGrows")
)  # fmt: skip
"""Names of those that a machine with too little time raises while all is right: no test and no proof requires their
silence.
"""
