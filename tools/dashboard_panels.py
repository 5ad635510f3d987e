"""The panels of the Grafana dashboards, as tables: what is asked, what one sees, and what to do about it.

Queries must go on any Prometheus that scrapes workers and gateways, whatever its job names. Every process has every
metric, at 0 where it is another role's, so the variable `instance` offers a dashboard's role alone. Rates are over what
Grafana takes for four scrapes; what happens rarely is counted over `RARE` instead, as a rate of it would read 0.0167.
"""

from __future__ import annotations

from dataclasses import dataclass

RATE, RARE = "$__rate_interval", "5m"
CHOSEN = 'namespace=~"$namespace",instance=~"$instance"'
"""What the variables at a dashboard's top leave; a series without a namespace is in any."""


@dataclass(frozen=True)
class Panel:
    """One graph. `query`: PromQL; `about`: what one sees, and what is right; `section`: of the runbook; `legend`: as
    Grafana has it; `unit`: a unit of Grafana's; `warn`, `alarm`: where its lines are drawn, upwards, or downwards where
    `alarm` is the lower one; `top`: the axis' end, where there is one.
    """

    title: str
    query: str
    about: str
    section: str = ""
    legend: str = "{{instance}}"
    unit: str = "short"
    warn: float | None = None
    alarm: float | None = None
    top: float | None = None


def of(metric: str, where: str = "") -> str:
    """A metric of what is chosen."""
    return f"{metric}{{{','.join(filter(None, (CHOSEN, where)))}}}"


def rate(metric: str, by: str = "instance", where: str = "") -> str:
    """A counter's increase a second."""
    return f"sum by ({by}) (rate({of(metric, where)}[{RATE}]))"


def events(metric: str, by: str = "instance", where: str = "") -> str:
    """How often something rare happened in the last minutes."""
    return f"sum by ({by}) (increase({of(metric, where)}[{RARE}]))"


def quantile(share: float, metric: str, by: str = "instance", window: str = RATE) -> str:
    """A share of a histogram's observations lies below."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({of(f'{metric}_bucket')}[{window}])))"


def share_within(metric: str, bound: str) -> str:
    """The part of a histogram's observations that is at most a bound."""
    within = rate(f"{metric}_bucket", where=f'le="{bound}"')
    return f"{within} / {rate(f'{metric}_count')}"


def top(metric: str, of_several: str = "max") -> str:
    """The shards with most. Two workers name one while it moves."""
    return f"topk(16, {of_several} by (shard) ({of(metric)}))"


SHARED = "link_bytes"
"""The one queue that both roles have."""
OF_WORKERS = f'queue=~"inbox_.*|mailbox|results_held|journal_.*|{SHARED}"'
OF_GATEWAYS = f'queue=~"session_inputs|socket_bytes|handshakes|sockets|{SHARED}"'
PLAYING = of("overworld_gateway_sessions", 'state="playing"')
NOT_PLAYING = of("overworld_gateway_sessions", 'state!="playing"')
SOCKETS = f"sum({of('overworld_gateway_sockets')})"

FLEET = (
    Panel("Processes", f"sum by (role, version, title, title_version) ({of('overworld_process')})",
          "What runs, by version. Two versions at once: an upgrade is under way, or was left half done.", "Upgrade",
          "{{role}} {{version}} {{title}} {{title_version}}"),
    Panel("Players", f"sum({PLAYING})", "Sessions that play now, as gateways count them.", "Scale", "players"),
    Panel("Shards without an owner",
          f"clamp_min(max({of('overworld_world_shards')}) - sum({of('overworld_shards_owned')}), 0)",
          "Nobody runs these: the world stands still there. 0, but for the second or two of a takeover.",
          "Shard without an owner", "shards", warn=1, alarm=1),
    Panel("Shards by phase", f"sum by (phase) ({of('overworld_shards_owned')})",
          "Stalled: results cannot be made durable. Asleep and away cost little: nobody is there.", "Redis failover",
          "{{phase}}"),
    Panel("Takeovers in 5 minutes", events("overworld_takeovers_total", "why"),
          "Why shards changed hands. `silent` and `suspect`: a worker died or was cut off; the others are ordinary.",
          "Redis failover", "{{why}}"),
    Panel("Moves of shards in 5 minutes", events("overworld_migrations_total", "result"),
          "By balancing, drains and operators. Failed ones are tried again.", "Drain", "{{result}}"),
    Panel("Balance: highest load above the mean", f"max({of('overworld_balance_unbalanced')})",
          "As a part of the mean. High with all workers busy: one shard costs more than a worker has.", "Hot shard",
          "part", "percentunit"),
    Panel("Journal append p99", quantile(0.99, "overworld_journal_append_seconds", "level"),
          "From the call to the commit level, Redis and network included. Players wait for it at every tick.",
          "Redis failover", "{{level}}", "s", warn=0.02, alarm=0.05),
    Panel("Redis: sent again, given up, a second",
          f"sum(rate({of('overworld_journal_retries_total')}[{RATE}]))"
          f" + (sum(rate({of('overworld_redis_unavailable_total')}[{RATE}])) or vector(0))",
          "Lost connections, busy or failing nodes, of all processes. 0 as a rule.", "Redis failover", "all", "ops",
          warn=0.1),
    Panel("Writes fenced in 5 minutes", f"sum(increase({of('overworld_journal_fenced_total')}[{RARE}]))",
          "A worker wrote to a shard that another one owns: it had stood still, or was cut off. Refused, so no harm.",
          "Redis failover", "all workers", warn=1),
    Panel("Oldest snapshot", f"max({of('overworld_snapshot_age_seconds')})",
          "Of all shards. It may grow by as much as OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S.", "Blob outage",
          "oldest", "s", warn=120, alarm=300),
    Panel("Blob calls failed", rate("overworld_blob_failures_total", "operation, error"),
          "Empty until the first one. Play goes on; the journal in Redis grows.", "Blob outage",
          "{{operation}} {{error}}", "ops", warn=0.1),
    Panel("CPU", f"rate({of('process_cpu_seconds_total')}[{RATE}])",
          "1 is one core, and all that one process can use of it.", "Scale", unit="percentunit", warn=0.8, alarm=0.95),
    Panel("Memory", of("process_resident_memory_bytes"), "Resident memory of each process.", "Scale", unit="bytes"),
)  # fmt: skip

WORKER = (
    Panel("Tick p50", quantile(0.5, "overworld_tick_seconds"), "Time of one shard's tick.", "Late ticks", unit="s"),
    Panel("Tick p99", quantile(0.99, "overworld_tick_seconds"), "Time of one shard's tick.", "Late ticks", unit="s"),
    Panel("Budget used p99", quantile(0.99, "overworld_tick_budget_used"),
          "The same as a part of the tick's interval, whatever the title's rate.", "Late ticks",
          unit="percentunit", warn=0.7, alarm=1),
    Panel("Ticks within their budget", share_within("overworld_tick_budget_used", "1.0"), "1 as a rule.",
          "Late ticks", unit="percentunit", warn=0.999, alarm=0.99, top=1),
    Panel("Ticks late p99", quantile(0.99, "overworld_tick_late_seconds"),
          "How late ticks began: what the process had else to do.", "Late ticks", unit="s", warn=0.02, alarm=0.05),
    Panel("Event loop late p99", quantile(0.99, "overworld_worker_loop_late_seconds"),
          "How long anything waits for its turn. Stands still for half a lease: shards are taken over.", "Late ticks",
          unit="s", warn=0.02, alarm=0.05),
    Panel("CPU of all shards", f"sum by (instance) ({of('overworld_shard_load')})",
          "CPU seconds a second of the ticks of the 16 shards that cost most.", "Hot shard", unit="percentunit",
          warn=0.7, alarm=0.9),
    Panel("Dilation", of("overworld_dilation"),
          "How many times longer a tick lasts: 1 as a rule. All of the world slows down with its slowest part.",
          "Hot shard", unit="none", warn=1.05, alarm=1.5),
    Panel("Queues", f"max by (instance, queue) ({of('overworld_queue_fill', OF_WORKERS)})",
          "How full the fullest of a kind is. At 1 what comes is refused, dropped and counted, or the shard pauses.",
          "Late ticks", "{{instance}} {{queue}}", "percentunit", warn=0.5, alarm=0.8, top=1),
    Panel("Results held back", of("overworld_ticks_held"),
          "Ticks whose record is not durable yet, of all shards: a few each. It climbs when Redis does not answer.",
          "Redis failover"),
    Panel("Entities", of("overworld_entities"), "Of all shards of a worker.", "Hot shard"),
    Panel("Cells watched", of("overworld_cells_watched"), "Cells that gateways look at, once for each gateway.",
          "Hot shard"),
    Panel("Bytes to gateways", rate("overworld_output_bytes_total"), "Outputs of ticks, before links' own bytes.",
          "Scale", unit="Bps"),
    Panel("Inputs refused", rate("overworld_inputs_refused_total", "reason"),
          "`overflow`: more than a tick takes; the others are clients' mistakes, or come in passing as sessions move.",
          "Attack on the gateways", "{{reason}}", "ops"),
    Panel("Mail dropped", rate("overworld_mail_dropped_total", "reason"),
          "Messages between shards not handed over. None is lost: a sweep of the outbox brings them, later.",
          "Redis failover", "{{reason}}", "ops"),
)  # fmt: skip

GATEWAY = (
    Panel("Sockets", of("overworld_gateway_sockets"), "Game sockets open. Its bound: OVERWORLD_GATEWAY_SOCKETS_MAX.",
          "Scale"),
    Panel("Sessions by state", f"sum by (state) ({of('overworld_gateway_sessions')})",
          "All but `playing` pass within a second.", "Scale", "{{state}}"),
    Panel("New players who wait", of("overworld_gateway_queue_length"),
          "For room in the world; they are told their place.", "Scale", warn=1),
    Panel("Sockets closed", rate("overworld_gateway_closes_total", "code"),
          "By close code; `client` and `lost` are theirs. Empty until the first one.", "Attack on the gateways",
          "{{code}}", "ops"),
    Panel("Sockets refused", rate("overworld_gateway_refusals_total", "reason"), "At the handshake.",
          "Attack on the gateways", "{{reason}}", "ops", warn=10),
    Panel("Guests refused", rate("overworld_gateway_guests_refused_total", "reason"), "Logins of guests.",
          "Attack on the gateways", "{{reason}}", "ops"),
    Panel("Suspicious streams in 5 minutes", events("overworld_gateway_suspicious_total", "reason"),
          "Known players who sent what no client of ours sends.", "Attack on the gateways", "{{reason}}"),
    Panel("Fan-out p99", quantile(0.99, "overworld_gateway_fanout_seconds"),
          "One tick of one shard, sent to everyone here who sees it.", "Scale", unit="s", warn=0.01, alarm=0.025),
    Panel("Event loop late p99", quantile(0.99, "overworld_gateway_loop_late_seconds"),
          "How long anything waits for its turn.", "Scale", unit="s", warn=0.02, alarm=0.05),
    Panel("Frame bytes", rate("overworld_gateway_frame_bytes_total"), "World frames to all clients of a gateway.",
          "Scale", unit="Bps"),
    Panel("Bytes not read by clients", of("overworld_gateway_backlog_bytes"),
          "Sent, and not taken by the kernel: of all clients of a gateway. Each has a bound, and then gets no updates.",
          "Slow readers", unit="bytes"),
    Panel("Not passed on", rate("overworld_gateway_dropped_total", "reason"),
          "`behind`: updates to slow readers; `link_message` and `queue_full` are a gateway's own trouble.",
          "Slow readers", "{{reason}}", "ops"),
    Panel("Queues", f"max by (instance, queue) ({of('overworld_queue_fill', OF_GATEWAYS)})",
          "How full the fullest of a kind is. `sockets` at 1: new players are told to try later.", "Scale",
          "{{instance}} {{queue}}", "percentunit", warn=0.5, alarm=0.8, top=1),
    Panel("Cells in view", of("overworld_gateway_cells"), "Cells that somebody here looks at.", "Scale"),
)  # fmt: skip

SHARD = (
    Panel("CPU of one shard", top("overworld_shard_load"),
          "CPU seconds a second of a shard's ticks. Near 1: it needs a worker, or a faster machine, of its own.",
          "Hot shard", "{{shard}}", "percentunit", warn=0.5, alarm=0.9),
    Panel("Players of one shard", top("overworld_shard_players"), "Players with a socket.", "Hot shard", "{{shard}}"),
    Panel("Entities of one shard", top("overworld_shard_entities"), "All kinds.", "Hot shard", "{{shard}}"),
    Panel("Snapshot age of one shard", top("overworld_shard_snapshot_age_seconds", "min"),
          "What a takeover has to replay, and what the journal in Redis holds.", "Blob outage", "{{shard}}", "s",
          warn=120, alarm=300),
    Panel("Steps of a move p99", quantile(0.99, "overworld_migration_seconds", "step", RARE),
          "`pause` is what players see of it. Only while shards move.", "Drain", "{{step}}", "s"),
    Panel("Takeover p99", quantile(0.99, "overworld_takeover_seconds", window=RARE),
          "From acquiring a shard to its first tick. Only while shards are taken over.", "Shard without an owner",
          unit="s"),
    Panel("Shards that ended in 5 minutes", events("overworld_shard_ended_total", "reason"),
          "`failed` and `crashed` are a bug of ours or of the title: the log says which.", "Shard without an owner",
          "{{reason}}"),
    Panel("Snapshots saved", rate("overworld_snapshot_saved_total"), "Written, read back and in a manifest.",
          "Blob outage", unit="ops"),
    Panel("Snapshot size", of("overworld_snapshot_bytes"), "Of the newest one of each worker.", "Blob outage",
          unit="bytes"),
    Panel("Archive: ticks not there yet", of("overworld_archive_lag_ticks"), "Of the shard that is most behind.",
          "Blob outage"),
    Panel("Stalls in 5 minutes", events("overworld_stalls_total"),
          "A shard paused because too many results were held back.", "Redis failover", warn=1),
    Panel("Mail between shards", rate("overworld_mail_received_total"), "Who crosses a border is such a message.",
          "Hot shard", unit="ops"),
)  # fmt: skip

PLAYERS = (
    Panel("Frames a second and player", f"sum(rate({of('overworld_gateway_frames_total')}[{RATE}])) / {SOCKETS}",
          "Where nothing in view changes there are fewer than ticks; who looks into several shards gets theirs too.",
          "Late ticks",
          "frames", "none"),
    Panel("Bytes a second and player", f"sum(rate({of('overworld_gateway_frame_bytes_total')}[{RATE}])) / {SOCKETS}",
          "Frames without headers of the socket and below.", "Scale", "bytes", "Bps"),
    Panel("From a tick's end to its release p99",
          f"histogram_quantile(0.99, sum by (le) (rate({of('overworld_release_seconds_bucket')}[{RATE}])))",
          "What durability adds to every answer.", "Redis failover", "all workers", "s", warn=0.03, alarm=0.1),
    Panel("Players without a shard now", f"sum({NOT_PLAYING})",
          "They come, or wait: for a shard that moves, for a worker, for room.", "Shard without an owner", "waiting",
          warn=20),
    Panel("Players who do not keep up", f"sum({of('overworld_gateway_behind')})",
          "They get no updates until they have read what they have; then keyframes.", "Slow readers", "behind"),
    Panel("Viewers with a short budget", f"sum({of('overworld_gateway_short_viewers')})",
          "They see more than their bytes a second cover: what is far comes less often.", "Hot shard", "viewers"),
    Panel("From shard to shard p99",
          f"histogram_quantile(0.99, sum by (le) (rate({of('overworld_gateway_move_seconds_bucket')}[{RARE}])))",
          "From leaving one shard to joining the next. Clients bridge about 0.2 s.", "Late ticks", "all gateways", "s",
          warn=0.2, alarm=1),
    Panel("Sockets lost or closed", rate("overworld_gateway_closes_total", "code"),
          "By close code. Empty until the first one.", "Attack on the gateways", "{{code}}", "ops"),
    Panel("Inputs applied late", f"sum(rate({of('overworld_inputs_late_total')}[{RATE}]))",
          "After the tick their client had meant them for: predictions of the own avatar are corrected.", "Late ticks",
          "all workers", "ops"),
    Panel("Time dilation", f"max({of('overworld_dilation')})", "1: the world goes at its own speed.", "Hot shard",
          "slowest", "none", warn=1.05, alarm=1.5),
)  # fmt: skip
