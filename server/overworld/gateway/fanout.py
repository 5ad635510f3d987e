"""One tick of one shard to everyone here who sees it: the gateway's hot path.

A worker sends each tick once. For each group of viewers the pieces of its cells are joined once, as they are; a
viewer's own pieces (acks, views with their keyframes, owner's values) are appended for the time of its send, and taken
off again. Cells of a view are runs of consecutive numbers and pieces come in cell order, so a run's pieces are one
slice of the worker's bytes.
"""

from __future__ import annotations

import numpy as np

from overworld import telemetry
from overworld.gateway import pieces
from overworld.gateway.crowds import Budget, Crowds
from overworld.gateway.lane import Lane
from overworld.gateway.outbox import HEADROOM_BYTES, Outbox
from overworld.gateway.ticks import Ints, Tick
from overworld.gateway.views import Group, Viewer, Views

_ROOM = bytes(HEADROOM_BYTES)
_NOTHING = b""


class _Plan:
    """The groups that see one shard, and all their runs flat: int64[sum of runs]."""

    def __init__(self, groups: list[Group], shard: int, generation: int) -> None:
        self.generation = generation
        self.groups = groups
        runs = [group.runs[shard] for group in groups]
        self.run_counts = [len(each) // 2 for each in runs]
        self.runs = np.array(self.run_counts, np.int32)
        self.bounds = np.concatenate(runs) if runs else np.zeros(0, np.int64)


class Fanout:
    """Sends ticks to viewers. Nothing here waits."""

    def __init__(
        self,
        views: Views,
        budget: Budget | None = None,
        lane: Lane | None = None,
        told: dict[int, tuple[int, int]] | None = None,
    ) -> None:
        self._views = views
        self._crowds = Crowds(budget) if budget is not None and budget.bytes_per_s else None
        self._told: dict[int, tuple[int, int]] = told if told is not None else {}
        """The newest (epoch, tick) of each shard."""
        self._plans: dict[int, _Plan] = {}
        self._lane = lane
        self._outbox = Outbox(lane)
        self.viewers: dict[int, Viewer] = {}
        """Viewers by session."""

    def newer(self, shard: int, epoch: int, tick: int) -> bool:
        """True for a tick above all seen of its shard, which it then is. Others must be dropped: they are from an owner
        that has been replaced, or came twice.
        """
        mark = (epoch, tick)
        if mark <= self._told.get(shard, (0, -1)):
            return False
        self._told[shard] = mark
        return True

    def deliver(self, tick: Tick, now_s: float = 0.0) -> None:
        """Send one tick. `now_s` is monotonic; budgets are counted by it."""
        self._forget_stale(tick.shard)
        addressed = self._move(tick)
        for session, place in tick.focuses:
            if session in self.viewers:
                self._views.refocus(self.viewers[session], place)
        addressed += self._give_keyframes(tick)
        acks = pieces.AckPieces(tick.shard, tick.tick)
        addressed += self._give_acks(tick, acks)
        addressed += self._give_owns(tick)
        self._outbox.take_own(addressed)
        self._send(tick, acks.tail, now_s)
        telemetry.gateway_frame_bytes_total.inc(self._outbox.flush(acks.tail))
        self._send_rest(addressed)

    # ------------------------------------------------------------ a viewer reads too slowly, or reads again

    def pause(self, viewer: Viewer) -> None:
        """The viewer gets nothing until `resume`; what it misses is made up for by keyframes."""
        assert viewer.behind
        viewer.owed |= self._views.remove(viewer)

    def resume(self, viewer: Viewer) -> None:
        """The viewer reads again: its client forgets everything, and gets its cells anew."""
        viewer.behind = False
        catch_up = pieces.left(sorted(viewer.owed)) if viewer.owed else _NOTHING
        catch_up += viewer.kept_ack + viewer.kept_own
        viewer.owed, viewer.kept_ack, viewer.kept_own = frozenset(), _NOTHING, _NOTHING
        if catch_up:
            viewer.send(bytearray(_ROOM + catch_up), HEADROOM_BYTES)
        if viewer.center >= 0:
            self._views.place(viewer, viewer.center)

    # ------------------------------------------------------------ the steps of a delivery

    def _forget_stale(self, shard: int) -> None:
        for viewer, cells in self._views.rekey(shard):
            # A message of its own: within one frame, updates would come before it.
            viewer.send(bytearray(_ROOM + pieces.left(cells)), HEADROOM_BYTES)

    def _move(self, tick: Tick) -> list[Viewer]:
        moved = []
        for session, center in tick.views:
            viewer = self.viewers.get(session)
            if viewer is None:
                continue
            if viewer.behind:
                viewer.center = center
                continue
            forget = self._views.place(viewer, center)
            if forget:
                viewer.extra += pieces.left(forget)
                moved.append(viewer)
        return moved

    def _give_keyframes(self, tick: Tick) -> list[Viewer]:
        addressed: list[Viewer] = []
        for cell, keyframe in tick.keyframes:
            ready = self._views.keyframe(cell)
            if ready:
                piece = pieces.entered(cell) + keyframe
                for viewer in ready:
                    viewer.extra += piece
                addressed += ready
        return addressed

    def _give_acks(self, tick: Tick, acks: pieces.AckPieces) -> list[Viewer]:
        addressed = []
        sessions, seqs = tick.acks
        if self._lane is not None and len(self._lane):
            others = self._lane.acks(sessions, seqs)
        else:
            others = list(zip(sessions.tolist(), seqs.tolist(), strict=True))
        for session, seq in others:
            viewer = self.viewers.get(session)
            if viewer is None:
                continue
            viewer.acked(seq)
            if viewer.behind:
                viewer.kept_ack = acks.piece(seq)
            else:
                viewer.extra += acks.piece(seq)
                addressed.append(viewer)
        return addressed

    def _give_owns(self, tick: Tick) -> list[Viewer]:
        addressed = []
        for session, piece in tick.owns:
            viewer = self.viewers.get(session)
            if viewer is None:
                continue
            if viewer.behind:
                viewer.kept_own = piece
            else:
                viewer.extra += piece
                addressed.append(viewer)
        return addressed

    def _send(self, tick: Tick, ack_tail: bytes, now_s: float) -> None:
        plan = self._plan(tick.shard)
        if not plan.groups:
            return
        updates = tick.updates
        # Where each run's bytes begin and end in `updates`.
        cuts = tick.update_offsets[np.searchsorted(tick.update_cells, plan.bounds)]
        head = pieces.head(tick.shard, tick.epoch, tick.tick, tick.tick_interval_us)
        crowded = self._crowds is not None and (tick.streams is not None or self._views.short)
        sent = None if crowded else self._outbox.add_runs(plan.groups, head, updates, cuts, plan.runs, ack_tail)
        if sent is not None:
            self._count(plan, *sent)
            return
        places = cuts.tolist()
        run_bytes = [updates[begin:end] for begin, end in zip(places[::2], places[1::2], strict=True)]
        head = _ROOM + head
        if crowded and self._crowds is not None:
            self._send_streams(tick, plan, run_bytes, head, self._crowds, now_s)
            return
        frames = total = at = 0
        for group, runs in zip(plan.groups, plan.run_counts, strict=True):
            frame = bytearray(head)
            frame += b"".join(run_bytes[at : at + runs])
            at += runs
            shared = len(frame) - HEADROOM_BYTES
            group.bytes += shared
            total += self._outbox.add(frame, group.viewers) + len(group.viewers) * shared
            frames += len(group.viewers)
        telemetry.gateway_frames_total.inc(frames)
        telemetry.gateway_frame_bytes_total.inc(total)

    def _count(self, plan: _Plan, own: int, sizes: Ints) -> None:
        frames = 0
        total = own
        for group, size in zip(plan.groups, sizes.tolist(), strict=True):
            group.bytes += size
            frames += len(group.viewers)
            total += size * len(group.viewers)
        telemetry.gateway_frames_total.inc(frames)
        telemetry.gateway_frame_bytes_total.inc(total)

    def _send_streams(
        self, tick: Tick, plan: _Plan, run_bytes: list[bytes], head: bytes, crowds: Crowds, now_s: float
    ) -> None:
        """The same where cells are split, or somebody's budget is short."""
        crowds.count_rows(tick.shard, tick.populations)
        lanes = crowds.lanes(tick.streams, plan.bounds)
        frames = total = at = 0
        for group, runs in zip(plan.groups, plan.run_counts, strict=True):
            frame = bytearray(head)
            frame += b"".join(run_bytes[at : at + runs])
            every = lanes.every(at, runs) if lanes is not None else _NOTHING
            group.bytes += len(frame) - HEADROOM_BYTES + len(every)
            if lanes is not None:
                frame += lanes.floor(at, runs)
            at += runs
            shared = len(frame) - HEADROOM_BYTES
            if group.parties is None:
                frame += every
                total += self._outbox.add(frame, group.viewers)
                total += len(group.viewers) * (len(frame) - HEADROOM_BYTES)
            else:
                for party in group.parties.values():
                    mine = frame + crowds.boosts(party, tick.shard, lanes, shared, len(every), now_s)
                    total += self._outbox.add(mine, party.viewers)
                    total += len(party.viewers) * (len(mine) - HEADROOM_BYTES)
            frames += len(group.viewers)
        crowds.count(lanes)
        telemetry.gateway_frames_total.inc(frames)
        telemetry.gateway_frame_bytes_total.inc(total)

    def _send_rest(self, addressed: list[Viewer]) -> None:
        """Pieces of viewers who see nothing of this shard."""
        for viewer in addressed:
            if viewer.extra:
                viewer.send(bytearray(_ROOM + viewer.extra), HEADROOM_BYTES)
                viewer.extra = _NOTHING

    def _plan(self, shard: int) -> _Plan:
        generation = self._views.generation[shard]
        plan = self._plans.get(shard)
        if plan is None or plan.generation != generation:
            plan = self._plans[shard] = _Plan(list(self._views.groups(shard)), shard, generation)
        return plan
