"""What only teams are told: both clients show and tell the same of the same frames."""

from __future__ import annotations

import json
import random
import struct
import subprocess

import numpy as np

from overworld.client.mirror import Mirror, Seen
from overworld.client.presence import TEAM, Presence
from tests.browser.test_js_mirror import REPLAY, is_newest, node
from tests.gateway.raid import SQUADS, Flag, RaidWorld, Soldier

SHARDS = range(4)
ROUNDS = 60
TELL = REPLAY.with_name("tell.js")


def recorded(seed: int) -> list[bytes]:
    """What a player receives whose squad, and everybody else's, changes now and then; he resumes, too."""
    chance = random.Random(seed)
    world = RaidWorld(seed)
    frames: list[bytes] = []
    for session in (1, 2, 3):
        world.connect(session, session % 2)
    listen(world, frames)
    for turn in range(ROUNDS):
        shard = chance.choice(SHARDS)
        soldiers = world.cores[shard].shard[Soldier]
        if len(soldiers):
            row = np.array([chance.randrange(len(soldiers))])
            world.enlist(shard, Soldier, row, chance.choice((0, 1, 1, 2, 2)))
            world.new_secrets(shard, Soldier, np.arange(len(soldiers)))
        if turn % 10 == 5 and (home := world.home(1)) is not None:
            mine = world.cores[home[0]].shard.avatar_rows(np.array([home[1]]), Soldier)
            world.enlist(home[0], Soldier, mine, 1 + turn // 10 % 2)
        world.enlist(chance.choice(SHARDS), Flag, np.array([0]), chance.randint(0, SQUADS))
        if turn % 19 == 18 and (home := world.home(1)) is not None:
            world.connect(1, home[0])
            listen(world, frames)
        for each in SHARDS:
            world.turn(each)
    return frames


def listen(world: RaidWorld, frames: list[bytes]) -> None:
    """From now on keep what session 1 is sent; its Welcome, too."""
    viewer = world.seats[1].viewer
    frames.append(world.welcome.piece(1, b"resume", 0))
    judged = viewer.send

    def keep(frame: bytearray, offset: int) -> None:
        frames.append(bytes(frame[offset:]))
        judged(frame, offset)

    viewer.send = keep


def by_javascript(tool: str, messages: list[bytes]) -> list[list[list[object]]]:
    stream = b"".join(struct.pack(">I", len(m)) + m for m in messages)
    played = subprocess.run([node(), tool], input=stream, capture_output=True, timeout=60, check=False)
    assert played.returncode == 0, played.stderr.decode()
    return [json.loads(line) for line in played.stdout.splitlines()]


def test_both_clients_show_the_same_of_teams() -> None:
    seed = random.SystemRandom().randrange(2**20)
    messages = recorded(seed)
    mirror, known = Mirror(), 0
    for i, (message, theirs) in enumerate(zip(messages, by_javascript(str(REPLAY), messages), strict=True)):
        assert mirror.apply(mirror.parse(message))
        ours = [list(row) for row in mirror.picture() if is_newest(mirror, *row[:3])]
        assert theirs == ours, f"message {i} of {len(messages)}, seed {seed}"
        known += sum(seen.team is not None for seen in mirror.entities(1))
    assert known > 50, f"seed {seed}"


def test_both_clients_tell_the_same_of_teams() -> None:
    seed = random.SystemRandom().randrange(2**20)
    messages = recorded(seed)
    mirror, told = Mirror(), list[list[object]]()
    presence = Presence(mirror)

    def plain(seen: Seen) -> list[object]:
        assert mirror.contract is not None
        kind = mirror.contract.kinds[seen.kind].name
        return [seen.entity, kind, seen.cell, [*seen.values, *(seen.team or ())]]

    def change(entity: int, kind: int, mask: int) -> None:
        assert mirror.contract is not None
        told.append(["change", entity, mirror.contract.kinds[kind].name, mask])

    presence.on_add(lambda seen: told.append(["add", *plain(seen)]))
    presence.on_change(change)
    presence.on_remove(lambda seen, reason: told.append(["remove", *plain(seen), reason]))
    presence.on_own(lambda own: told.append(["own", own.entity if own else 0, list(own.values) if own else []]))
    teams = 0
    for i, (message, theirs) in enumerate(zip(messages, by_javascript(str(TELL), messages), strict=True)):
        mirror.apply(mirror.parse(message))
        assert sorted(map(str, theirs)) == sorted(map(str, told)), f"message {i} of {len(messages)}, seed {seed}"
        teams += sum(str(TEAM) in str(line) for line in told)
        told.clear()
    assert teams > 10, f"seed {seed}"
