"""Every metric, in one file. Names are `overworld_*`, units last; counters get `_total` from the library.

Labels have few values, known beforehand: never a player, an address or a text from outside. The one exception are the
`overworld_shard_*` gauges: of the shards of a process that cost most, `SHARDS_SHOWN_MAX` at most.

docs/metrics.md is made from this file (tools/metrics_page.py); its sections are the headings here.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_FAST_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_COMMIT_S = (
    *(0.0001, 0.0002, 0.0003, 0.0004, 0.0005, 0.0006, 0.0008, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01),
    *(0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_SLOW_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.5, 2, 5)

SHARDS_SHOWN_MAX = 16

# ---------------------------------------------------------------- every process

process = Gauge("overworld_process", "1; the labels say what runs", ["role", "version", "title", "title_version"])
queue_fill = Gauge(
    "overworld_queue_fill",
    "How full the fullest queue of a kind is, as a part of its bound; what is too much for it is counted elsewhere",
    ["queue"],
)

trace_spans_total = Counter("overworld_trace_spans", "Spans handed to an exporter, by result", ["result"])

# ---------------------------------------------------------------- stores: Redis

journal_append_seconds = Histogram(
    "overworld_journal_append_seconds",
    "From the call to the commit level reached, of appends that succeeded",
    ["level"],
    buckets=_COMMIT_S,
)
journal_append_bytes = Counter("overworld_journal_append_bytes", "Payload and outbox bytes appended")
journal_batch_commands = Histogram(
    "overworld_journal_batch_commands",
    "Commands that travelled together",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
journal_retries_total = Counter("overworld_journal_retries", "Commands sent again, by reason", ["reason"])
journal_refused_total = Counter("overworld_journal_refused", "Commands refused or given up, by reason", ["reason"])
journal_already_total = Counter("overworld_journal_already", "Appends answered: an earlier try had worked")
journal_fenced_total = Counter("overworld_journal_fenced", "Writes refused because another owner has the shard")
journal_other_head_total = Counter("overworld_journal_other_head", "Appends answered: the journal ends elsewhere")
journal_gap_total = Counter("overworld_journal_gap", "Journal reads that missed a record")
redis_retries_total = Counter("overworld_redis_retries", "Ordinary Redis calls sent again", ["call"])
redis_unavailable_total = Counter("overworld_redis_unavailable", "Ordinary Redis calls given up", ["call"])
redis_tokens_total = Counter("overworld_redis_tokens", "Fetches of tokens for Redis, by outcome", ["outcome"])
redis_auth_total = Counter("overworld_redis_auth", "Tokens shown to Redis, by outcome", ["outcome"])
redis_token_expires_seconds = Gauge(
    "overworld_redis_token_expires_seconds", "When the token for Redis expires, in seconds since 1970; 0: there is none"
)

# ---------------------------------------------------------------- stores: blobs and snapshots

blob_seconds = Histogram("overworld_blob_seconds", "Blob storage calls that succeeded", ["operation"], buckets=_SLOW_S)
blob_failures_total = Counter("overworld_blob_failures", "Blob storage calls that failed", ["operation", "error"])
blob_recognised_total = Counter(
    "overworld_blob_recognised", "Puts refused as already there that turned out to be their own earlier try"
)
snapshot_bytes = Gauge("overworld_snapshot_bytes", "Size of the newest snapshot written by this process")
snapshot_saved_total = Counter("overworld_snapshot_saved", "Snapshots written, read back and put into a manifest")
snapshot_corrupt_total = Counter("overworld_snapshot_corrupt", "Snapshots or manifests found corrupt", ["what"])
claims_failed_total = Counter(
    "overworld_claims_failed", "Tries to claim a manifest beside the ticks of a shard that moved here that failed"
)
snapshot_fenced_total = Counter("overworld_snapshot_fenced", "Manifest writes refused: a newer owner has claimed it")

# ---------------------------------------------------------------- stores: archive

archive_segments_total = Counter("overworld_archive_segments", "Journal segments written to the archive and read back")
archive_records_total = Counter("overworld_archive_records", "Journal records in those segments")
archive_bytes = Counter("overworld_archive_bytes", "Bytes of those segments")
archive_states_total = Counter("overworld_archive_states", "States written to the archive and read back")
archive_failed_total = Counter("overworld_archive_failed", "Attempts to archive that failed, by error", ["error"])
archive_gaps_total = Counter("overworld_archive_gaps", "Times that records were gone before they were archived")
archive_lag_ticks = Gauge(
    "overworld_archive_lag_ticks", "Committed ticks not archived yet, of the shard that is most behind"
)

# ---------------------------------------------------------------- link

links = Gauge("overworld_links", "Links open and authenticated, seen from this process")
link_lost_total = Counter("overworld_link_lost", "Links and attempts that ended, by cause", ["cause"])
link_bytes_total = Counter("overworld_link_bytes", "Bytes over links", ["direction"])
link_dropped_total = Counter("overworld_link_dropped", "Messages not sent because their link was closed or overflowed")

# ---------------------------------------------------------------- worker: ticks

tick_seconds = Histogram(
    "overworld_tick_seconds",
    "Time of a tick: take, step, encode, record, outputs",
    buckets=(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25),
)
tick_budget_used = Histogram(
    "overworld_tick_budget_used",
    "The same as a part of the tick's interval, whatever the title's tick rate: the bucket 1 is the budget",
    buckets=_SHARES,
)
tick_interval_seconds = Gauge(
    "overworld_tick_interval_seconds", "The interval that the title asks for: a tick's budget"
)
tick_over_budget_total = Counter("overworld_tick_over_budget", "Ticks that took longer than a tick's interval")
tick_late_seconds = Histogram("overworld_tick_late_seconds", "How late ticks began", buckets=_FAST_S)
ticks_total = Counter("overworld_ticks", "Ticks run, of all shards of this process")
dilation = Gauge("overworld_dilation", "How many times longer than the title's a tick lasts now; 1 as a rule")
dilation_changes_total = Counter("overworld_dilation_changes", "Times a tick got longer or shorter", ["to"])
worker_busy = Gauge("overworld_worker_busy", "Part of the time in which a worker runs, or waits for a core; 0 to 1")
gateway_lag_seconds = Gauge("overworld_gateway_lag_seconds", "How far the slowest gateway is behind a worker's ticks")
ticks_skipped_total = Counter("overworld_ticks_skipped", "Ticks not run because the shard was too far behind")
ticks_released_total = Counter("overworld_ticks_released", "Ticks whose results were sent to gateways")
ticks_held = Gauge("overworld_ticks_held", "Results held back until their tick is committed, all shards")
release_seconds = Histogram(
    "overworld_release_seconds", "From the end of a tick's encoding to the release of its results", buckets=_COMMIT_S
)
entities = Gauge("overworld_entities", "Entities of all shards of this process")
cells_watched = Gauge("overworld_cells_watched", "Cells that gateways look at, once for each gateway, of all shards")
players_online = Gauge("overworld_players_online", "Players with a socket, of all shards of this process")
inputs_applied_total = Counter("overworld_inputs_applied", "Inputs that entered a tick")
inputs_refused_total = Counter("overworld_inputs_refused", "Inputs that did not enter a tick, by reason", ["reason"])
inputs_late_total = Counter("overworld_inputs_late", "Inputs applied after the tick their client had meant them for")
reception_refused_total = Counter("overworld_reception_refused", "Requests of gateways turned away", ["what"])
sessions_unattached_total = Counter(
    "overworld_sessions_unattached", "Sessions that no gateway attached in time: their sockets count as lost"
)
worker_loop_late_seconds = Histogram(
    "overworld_worker_loop_late_seconds", "How late a worker's event loop ran a timer", buckets=_FAST_S
)
stream_bytes = Counter("overworld_stream_bytes", "Bytes of split cells' streams, encoded once for all")
output_bytes = Counter("overworld_output_bytes", "Bytes of tick outputs sent to gateways")

# ---------------------------------------------------------------- worker: mail between shards

mail_sent_total = Counter("overworld_mail_sent", "Messages to other shards handed over once their tick was committed")
mail_received_total = Counter("overworld_mail_received", "Messages of other shards that a tick applied")
mail_swept_total = Counter(
    "overworld_mail_swept", "Messages first seen in their sender's outbox: they were not handed over, or got lost"
)
mail_duplicate_total = Counter("overworld_mail_duplicate", "Messages that came once more")
mail_dropped_total = Counter(
    "overworld_mail_dropped", "Messages not handed over; a sweep of the outbox brings them; by reason", ["reason"]
)
mail_seconds = Histogram(
    "overworld_mail_seconds", "From a message's arrival at a worker to the tick that applies it", buckets=_FAST_S
)
mail_sweep_failed_total = Counter("overworld_mail_sweep_failed", "Reads of an outbox that failed, by error", ["error"])
mail_receipts_failed_total = Counter(
    "overworld_mail_receipts_failed", "Times that mail could not be acked or forgotten, by error", ["error"]
)
mail_lost_total = Counter(
    "overworld_mail_lost", "Messages that stores and senders have lost: their receivers went on without them"
)
outbox_waiting = Gauge("overworld_outbox_waiting", "Messages sent that their receivers have not acked, all shards")
attaches_waiting_total = Counter(
    "overworld_attaches_waiting", "Sessions that came before their player and waited, by what came of it", ["end"]
)
title_messages_undelivered_total = Counter(
    "overworld_title_messages_undelivered", "Messages of titles to entities that were nowhere to be found"
)
core_alarms_total = Counter("overworld_core_alarms", "Things that should not be, seen by a tick; the log says which")

# ---------------------------------------------------------------- worker: ownership

shards_owned = Gauge("overworld_shards_owned", "Shards of this process, by phase", ["phase"])
world_shards = Gauge("overworld_world_shards", "Shards that the world has, whoever runs them; as every worker knows")
commit_level = Gauge("overworld_commit_level", "The commit level in force")
takeovers_total = Counter("overworld_takeovers", "Shards acquired, by why they were vacant", ["why"])
acquire_refused_total = Counter("overworld_acquire_refused", "Acquisitions that came too late: somebody was alive")
takeover_seconds = Histogram("overworld_takeover_seconds", "From acquiring a shard to its first tick", buckets=_SLOW_S)
shards_left_total = Counter("overworld_shards_left", "Shards that left memory because nobody needed them")
wakes_total = Counter("overworld_wakes", "Shards that somebody came for, by where they were: asleep, away", ["from"])
wake_seconds = Histogram("overworld_wake_seconds", "From a call to a shard that was away to its state", buckets=_SLOW_S)
replay_ticks_total = Counter("overworld_replay_ticks", "Ticks replayed from journals")
replay_seconds = Histogram("overworld_replay_seconds", "Snapshot and replay of one shard", buckets=_SLOW_S)
records_resent_total = Counter("overworld_records_resent", "Times that a shard went back to send records again")
shard_ended_total = Counter("overworld_shard_ended", "Shards this process stopped running, by reason", ["reason"])
stalls_total = Counter("overworld_stalls", "Times that a shard paused because too many results were held back")
rebases_total = Counter("overworld_rebases", "Journals begun anew at a snapshot after Redis lost them")
journals_lost_total = Counter(
    "overworld_journals_lost", "Shards that went on from a snapshot because Redis lost their journal and no owner lived"
)
standby_lag_ticks = Gauge("overworld_standby_lag_ticks", "Ticks that the worst of this process' standbys is behind")
standbys = Gauge("overworld_standbys", "Shards followed here, by whether they could be taken over now", ["state"])
standby_restarts_total = Counter("overworld_standby_restarts", "Times that a follower began again at a snapshot")
standby_takeovers_total = Counter("overworld_standby_takeovers", "Shards taken over from a follower's state")
migrations_total = Counter("overworld_migrations", "Shards asked to move to this process, by result", ["result"])
migration_seconds = Histogram(
    "overworld_migration_seconds",
    "Steps of moving a shard here; pause is what players see of it",
    ["step"],
    buckets=_FAST_S,
)
yields_total = Counter("overworld_yields", "Times that another process asked for a shard of this one", ["result"])
cell_checks_total = Counter("overworld_cell_checks", "Questions of load tests about cells, by HTTP status", ["status"])
admin_calls_total = Counter("overworld_admin_calls", "Calls of the admin API, by HTTP status", ["status"])
balance_leads = Gauge("overworld_balance_leads", "1 where this worker evens out the loads of all")
balance_unbalanced = Gauge(
    "overworld_balance_unbalanced", "By how much the highest load is above the mean, as a part of it; where it leads"
)
balance_moves_total = Counter(
    "overworld_balance_moves", "Moves begun to even out loads or to empty a worker", ["result"]
)
shards_paused = Gauge("overworld_shards_paused", "1 while an operator wants the world to stand still")
divergence_total = Counter("overworld_divergence", "Replays that disagreed with the journal")
loop_gaps_total = Counter("overworld_loop_gaps", "Times that this process stood still for half a lease or longer")
snapshot_age_seconds = Gauge("overworld_snapshot_age_seconds", "Age of the oldest shard's newest snapshot")
snapshot_failed_total = Counter("overworld_snapshot_failed", "Snapshots that could not be saved, by error", ["error"])

# ---------------------------------------------------------------- worker: single shards, those that cost most

shard_load = Gauge("overworld_shard_load", "CPU seconds a second of one shard's ticks", ["shard"])
shard_players = Gauge("overworld_shard_players", "Players with a socket, of one shard", ["shard"])
shard_entities = Gauge("overworld_shard_entities", "Entities of one shard", ["shard"])
shard_snapshot_age_seconds = Gauge(
    "overworld_shard_snapshot_age_seconds", "Age of one shard's newest snapshot", ["shard"]
)

# ---------------------------------------------------------------- gateway

gateway_queue_length = Gauge("overworld_gateway_queue_length", "New players who wait for room in the world")
gateway_queued_total = Counter("overworld_gateway_queued", "New players who had to wait for room")
gateway_sockets = Gauge("overworld_gateway_sockets", "Game sockets open")
gateway_sessions = Gauge("overworld_gateway_sessions", "Sessions, by state", ["state"])
gateway_lane_sessions = Gauge("overworld_gateway_lane_sessions", "Sessions whose sockets compiled code serves")
gateway_behind = Gauge("overworld_gateway_behind", "Sessions that get no updates until they have read what they have")
gateway_backlog_bytes = Gauge("overworld_gateway_backlog_bytes", "Bytes sent to clients that the kernel has not taken")
gateway_cells = Gauge("overworld_gateway_cells", "Cells that somebody here looks at")
gateway_frames_total = Counter("overworld_gateway_frames", "World frames sent")
gateway_frame_bytes_total = Counter("overworld_gateway_frame_bytes", "Bytes of the world frames sent")
gateway_split_cells = Gauge(
    "overworld_gateway_split_cells", "Cells that viewers here need split: their budget is short"
)
gateway_short_viewers = Gauge("overworld_gateway_short_viewers", "Viewers whose budget does not cover all they see")
gateway_held_back_bytes = Counter(
    "overworld_gateway_held_back_bytes",
    "Bytes of updates that viewers' budgets did not cover, less what they got instead",
)
gateway_stream_pieces_total = Counter(
    "overworld_gateway_stream_pieces",
    "Pieces of split cells' streams joined into frames, by the stream's ticks between two",
    ["level"],
)
gateway_over_budget_total = Counter(
    "overworld_gateway_over_budget", "Frames larger than their viewers' budgets, all that can wait being left out"
)
gateway_fanout_seconds = Histogram(
    "overworld_gateway_fanout_seconds", "One tick of one shard sent to everyone here who sees it", buckets=_FAST_S
)
gateway_closes_total = Counter("overworld_gateway_closes", "Game sockets closed, by close code", ["code"])
gateway_refusals_total = Counter(
    "overworld_gateway_refusals", "Sockets refused at the handshake, by reason", ["reason"]
)
gateway_certificate_reads_total = Counter(
    "overworld_gateway_certificate_reads", "Looks at the TLS files that changed something or failed", ["result"]
)
gateway_certificate_expires_seconds = Gauge(
    "overworld_gateway_certificate_expires_seconds", "When the TLS certificate in use ends, in seconds since 1970"
)
gateway_suspicious_total = Counter(
    "overworld_gateway_suspicious",
    "What known players did that no client of ours does; most of it closes the socket",
    ["reason"],
)
gateway_inputs_total = Counter("overworld_gateway_inputs", "Inputs sent to workers, those sent again included")
gateway_guests_refused_total = Counter(
    "overworld_gateway_guests_refused", "Guest logins refused, by reason", ["reason"]
)
gateway_dropped_total = Counter("overworld_gateway_dropped", "What was not passed on, by reason", ["reason"])
gateway_input_batch = Histogram(
    "overworld_gateway_input_batch",
    "Inputs in one message to a worker",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 1024),
)
gateway_moves_total = Counter("overworld_gateway_moves", "Times that a session followed its player to another shard")
gateway_move_seconds = Histogram(
    "overworld_gateway_move_seconds", "From leaving one shard to joining the next, of such sessions", buckets=_FAST_S
)
gateway_takeovers_total = Counter("overworld_gateway_takeovers", "Shards found again after their worker was lost")
gateway_directory_failures_total = Counter(
    "overworld_gateway_directory_failures", "Look-ups of shard owners that failed"
)
gateway_loop_late_seconds = Histogram(
    "overworld_gateway_loop_late_seconds", "How late the event loop ran a timer", buckets=_FAST_S
)

# ---------------------------------------------------------------- counters that begin at 0

BEGUN: dict[Counter, tuple[str, ...]] = {
    journal_retries_total: (
        *("unknown_script", "moved", "later", "unconfirmed"),
        *("reconnect", "refused", "connection"),
    ),
    journal_refused_total: ("not_replicated", "unavailable", "refused", "queue_full"),
    snapshot_corrupt_total: ("manifest", "snapshot"),
    inputs_refused_total: ("unknown_session", "duplicate", "bad_input", "gap", "overflow"),
    mail_dropped_total: ("mailbox_full", "no_link", "no_owner", "not_here"),
    takeovers_total: ("migration", "new", "released", "silent", "suspect"),
    migrations_total: ("moved", "refused", "failed"),
    shard_ended_total: ("stopped", "fenced", "title_failed", "left", "moved", "failed", "crashed"),
    gateway_refusals_total: (
        *("path", "host", "key", "version", "origin", "address", "full", "unfinished", "busy", "tls"),
    ),
    gateway_certificate_reads_total: ("new", "failed"),
    gateway_suspicious_total: (
        *("protocol", "bad_message", "too_big", "too_much", "bad_input", "input_gap", "seen_ahead"),
    ),
    gateway_guests_refused_total: ("disabled", "rate", "host", "body"),
    gateway_dropped_total: (
        *("behind", "queue_full", "detach_unreachable", "link_message", "output_not_owner", "output_stale"),
        *("pong_behind", "input_duplicate", "stream_place"),
    ),
}
"""Label values of what alerts and dashboards count. A series that begins with its first event, at 1, has no increase
for Prometheus: the first corrupt snapshot of a process would wake nobody.
"""
_begun = [counter.labels(value) for counter, values in BEGUN.items() for value in values]
