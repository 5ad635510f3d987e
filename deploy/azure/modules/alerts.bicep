// Made by python -m tools.azure_alerts from deploy/alerts; not written by hand. Who is told: an action group.
param location string
param tags object
param metricsId string

@description('Action group that is told; empty: alerts are only shown.')
param actionGroupId string = ''

var actions = empty(actionGroupId) ? [] : [{ actionGroupId: actionGroupId }]

resource overworld1 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {
  name: 'overworld-1'
  location: location
  tags: tags
  properties: {
    interval: 'PT1M'
    scopes: [metricsId]
    rules: [
      {
        alert: 'OverworldProcessDown'
        expression: 'up{job=~".*overworld.*"} == 0'
        for: 'PT1M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'A worker or gateway does not answer its metrics port.', runbook: 'deploy/runbook.md#scale' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldNoWorkers'
        expression: 'absent(overworld_process{role="worker"})'
        for: 'PT2M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'No worker is there at all, or nothing scrapes it: nobody plays, or nobody watches.', runbook: 'deploy/runbook.md#scale' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldNoGateways'
        expression: 'absent(overworld_process{role="gateway"})'
        for: 'PT2M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'No gateway is there at all, or nothing scrapes it: nobody plays, or nobody watches.', runbook: 'deploy/runbook.md#scale' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldShardWithoutOwner'
        expression: 'max by (namespace) (overworld_world_shards) - sum by (namespace) (overworld_shards_owned) > 0'
        for: 'PT1M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'Shards are run by nobody: the world stands still there.', runbook: 'deploy/runbook.md#shard-without-an-owner' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldShardCrashes'
        expression: 'sum by (instance, reason) (increase(overworld_shard_ended_total{reason=~"failed|crashed|title_failed"}[10m])) > 0'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'A shard\'s loop ended by an error of ours, of the title or of a store; it is tried again.', runbook: 'deploy/runbook.md#shard-without-an-owner' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldShardsStandStill'
        expression: 'sum by (instance) (overworld_shards_owned{phase="stalled"}) > 0'
        for: 'PT1M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'Shards stand still: their ticks cannot be made durable. Players are told.', runbook: 'deploy/runbook.md#redis-failover' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldJournalsLost'
        expression: 'sum by (instance) (increase(overworld_journals_lost_total[10m])) > 0'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'Redis lost a shard\'s journal; it went on from what its owner or a snapshot had.', runbook: 'deploy/runbook.md#redis-failover' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldMailLost'
        expression: 'sum by (instance) (increase(overworld_mail_lost_total[60m])) > 0'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'Messages between shards are gone that the store had promised to keep.', runbook: 'deploy/runbook.md#redis-failover' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldReplayDiverged'
        expression: 'sum by (instance) (increase(overworld_divergence_total[60m])) > 0'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'A replay disagreed with the journal: two versions of one step, or a broken machine.', runbook: 'deploy/runbook.md#restore-to-a-time' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldSnapshotCorrupt'
        expression: 'sum by (instance) (increase(overworld_snapshot_corrupt_total[60m])) > 0'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'A snapshot or manifest was found corrupt; the one before it was used.', runbook: 'deploy/runbook.md#blob-outage' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldWritesFenced'
        expression: 'sum by (instance) (increase(overworld_journal_fenced_total[10m])) > 0'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'A worker wrote to a shard that another one owns: it had stood still, or was cut off.', runbook: 'deploy/runbook.md#redis-failover' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldWritesRefused'
        expression: 'sum by (instance, reason) (rate(overworld_journal_refused_total[5m])) > 0.02'
        for: 'PT2M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'Redis refuses journal appends, or they are given up: full, out of replicas, or not there.', runbook: 'deploy/runbook.md#redis-failover' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldRedisReconnects'
        expression: 'sum by (instance) (rate(overworld_journal_retries_total{reason="connection"}[5m])) > 0.02'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'Connections to Redis are lost again and again: appends are sent anew each time.', runbook: 'deploy/runbook.md#redis-failover' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldWorkersTakenOver'
        expression: 'sum(increase(overworld_takeovers_total{why=~"silent|suspect"}[10m])) > 3'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'Several shards were taken over from workers that fell silent.', runbook: 'deploy/runbook.md#redis-failover' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldAppendsSlow'
        expression: 'sum by (instance) (rate(overworld_journal_append_seconds_bucket{le="0.05"}[5m])) / sum by (instance) (rate(overworld_journal_append_seconds_bucket{le="+Inf"}[5m])) < 0.99'
        for: 'PT10M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'More than one append in a hundred takes longer than 50 ms.', runbook: 'deploy/runbook.md#redis-failover' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldRedisTokenExpires'
        expression: '(overworld_redis_token_expires_seconds - time() < 300) and overworld_redis_token_expires_seconds > 0'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'The token for Redis was not renewed: connections end with it.', runbook: 'deploy/runbook.md#redis-failover' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldSnapshotsOld'
        expression: 'overworld_snapshot_age_seconds > 300'
        for: 'PT5M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'A shard has no new snapshot for five minutes: the journal in Redis grows.', runbook: 'deploy/runbook.md#blob-outage' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldArchiveLags'
        expression: 'overworld_archive_lag_ticks * overworld_tick_interval_seconds > 300'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'The archive is five minutes behind: the journal in Redis grows.', runbook: 'deploy/runbook.md#blob-outage' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldArchiveGaps'
        expression: 'sum by (instance) (increase(overworld_archive_gaps_total[60m])) > 0'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'Ticks were gone before they were archived: the world cannot be restored to these.', runbook: 'deploy/runbook.md#blob-outage' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldBlobFails'
        expression: 'sum by (instance) (rate(overworld_blob_failures_total[5m])) > 0.1'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'Blob storage fails again and again.', runbook: 'deploy/runbook.md#blob-outage' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
    ]
  }
}

resource overworld2 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {
  name: 'overworld-2'
  location: location
  tags: tags
  properties: {
    interval: 'PT1M'
    scopes: [metricsId]
    rules: [
      {
        alert: 'OverworldTicksLate'
        expression: 'sum by (instance) (rate(overworld_tick_late_seconds_bucket{le="0.05"}[5m])) / sum by (instance) (rate(overworld_tick_late_seconds_bucket{le="+Inf"}[5m])) < 0.99'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'More than one tick in a hundred begins over 50 ms late: players see the world stutter.', runbook: 'deploy/runbook.md#late-ticks' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldTickBudgetNearlyUsed'
        expression: 'sum by (instance) (rate(overworld_tick_budget_used_bucket{le="0.8"}[5m])) / sum by (instance) (rate(overworld_tick_budget_used_bucket{le="+Inf"}[5m])) < 0.95'
        for: 'PT10M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'One tick in twenty takes more than four fifths of its time: the next players bring time dilation.', runbook: 'deploy/runbook.md#late-ticks' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldTicksSkipped'
        expression: 'sum by (instance) (rate(overworld_ticks_skipped_total[5m])) > 0.1'
        for: 'PT2M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'Shards skip ticks: they are further behind than time dilation can make up.', runbook: 'deploy/runbook.md#late-ticks' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldTicksOverBudget'
        expression: 'sum by (instance) (rate(overworld_tick_over_budget_total[5m])) / sum by (instance) (rate(overworld_ticks_total[5m])) > 0.01'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'More than one tick in a hundred takes longer than a tick may.', runbook: 'deploy/runbook.md#late-ticks' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldTimeDilates'
        expression: 'overworld_dilation > 1'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'A worker or its gateways do not keep up: its part of the world runs slower.', runbook: 'deploy/runbook.md#hot-shard' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldQueueFills'
        expression: 'max by (instance, queue) (overworld_queue_fill{queue!~"sockets|handshakes"}) > 0.8'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'A bounded queue is nearly full; past it, what comes is refused.', runbook: 'deploy/runbook.md#late-ticks' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldProcessStoodStill'
        expression: 'sum by (instance) (increase(overworld_loop_gaps_total[10m])) > 0'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'A worker\'s process stood still for half a lease or longer.', runbook: 'deploy/runbook.md#late-ticks' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldWorldPaused'
        expression: 'max by (instance) (overworld_shards_paused) > 0'
        for: 'PT15M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'An operator let the world stand still a quarter of an hour ago: overworld admin resume.', runbook: 'deploy/runbook.md#hot-shard' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldVersionsMixed'
        expression: 'count by (namespace) (count by (namespace, version, title_version) (overworld_process)) > 1'
        for: 'PT20M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'Two versions have run beside each other for long: an upgrade was left half done.', runbook: 'deploy/runbook.md#upgrade' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldGatewayLate'
        expression: 'sum by (instance) (rate(overworld_gateway_loop_late_seconds_bucket{le="0.05"}[5m])) / sum by (instance) (rate(overworld_gateway_loop_late_seconds_bucket{le="+Inf"}[5m])) < 0.99'
        for: 'PT10M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'A gateway\'s event loop is late: it has too many players.', runbook: 'deploy/runbook.md#scale' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldPlayersQueue'
        expression: 'overworld_gateway_queue_length > 0'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'New players wait for room in the world.', runbook: 'deploy/runbook.md#scale' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldSocketsNearlyFull'
        expression: 'max by (instance) (overworld_queue_fill{queue="sockets"}) > 0.9'
        for: 'PT2M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'A gateway has nine tenths of the sockets it may have; past them new players are told to try later.', runbook: 'deploy/runbook.md#scale' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldGatewayDrops'
        expression: 'sum by (instance, reason) (rate(overworld_gateway_dropped_total{reason=~"queue_full|link_message"}[5m])) > 0.1'
        for: 'PT2M'
        severity: 1
        labels: { severity: 'critical' }
        annotations: { summary: 'A gateway turns new players away from a full queue, or cannot read what its workers send.', runbook: 'deploy/runbook.md#scale' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldLinksOverflow'
        expression: 'sum by (instance) (rate(overworld_link_dropped_total[5m])) > 1'
        for: 'PT2M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'Messages between processes are not sent: a link is closed, or the other side does not read.', runbook: 'deploy/runbook.md#late-ticks' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldBacklogGrows'
        expression: 'overworld_gateway_backlog_bytes / (overworld_gateway_sockets > 20) > 65536'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'The clients of a gateway have 64 KiB unread each on average: its line is full, or theirs.', runbook: 'deploy/runbook.md#slow-readers' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldPlayersBehind'
        expression: 'overworld_gateway_behind / (overworld_gateway_sockets > 20) > 0.1'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'One player in ten does not read as fast as updates come.', runbook: 'deploy/runbook.md#slow-readers' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldSocketsRefused'
        expression: 'sum by (instance) (rate(overworld_gateway_refusals_total[5m])) > 10'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'A gateway turns away more than ten sockets a second.', runbook: 'deploy/runbook.md#attack-on-the-gateways' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
      {
        alert: 'OverworldSuspiciousStreams'
        expression: 'sum by (instance) (rate(overworld_gateway_suspicious_total[5m])) > 1'
        for: 'PT5M'
        severity: 3
        labels: { severity: 'warning' }
        annotations: { summary: 'Clients send what no client of ours sends.', runbook: 'deploy/runbook.md#attack-on-the-gateways' }
        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }
        actions: actions
      }
    ]
  }
}
