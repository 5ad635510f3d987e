"""What goes wrong in a simulation: a list of faults drawn from the seed, each with its time and its cure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from overworld.store.ports import CommitLevel
from tests.simulation.deployment import Deployment
from tests.simulation.lineage import Lineage
from tests.simulation.network import Weather

Fault = Callable[["Troublemaker"], None]


@dataclass
class Troublemaker:
    """Carries faults out, and remembers them."""

    deployment: Deployment
    lineage: Lineage
    chance: random.Random

    def __post_init__(self) -> None:
        self.log: list[str] = []

    def note(self, what: str) -> None:
        """Say what was done, with the time."""
        self.log.append(f"{self.deployment.loop.time():7.3f} {what}")

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something after a while, outside of all processes."""
        self.deployment.loop.call_later(seconds, action)

    # ------------------------------------------------------------ faults

    def kill_worker(self) -> None:
        """kill -9; another one starts some time later."""
        if self.deployment.workers:
            process = self.chance.choice(list(self.deployment.workers))
            self.note(f"kill {process.name}")
            self.deployment.kill(process)
            self.later(self.chance.uniform(0.1, 3), self.deployment.start_worker)

    def pause_worker(self) -> None:
        """SIGSTOP for up to three leases, then SIGCONT."""
        if self.deployment.workers:
            process = self.chance.choice(list(self.deployment.workers))
            seconds = self.chance.uniform(0.2, 3)
            self.note(f"pause {process.name} for {seconds:.2f} s")
            self.deployment.loop.pause(process)
            self.later(seconds, lambda: self.deployment.loop.resume(process))

    def freeze_mid_append(self) -> None:
        """SIGSTOP for longer than the lease, while appends are on their way: their answers find another owner."""
        weather = self.deployment.redis_weather
        weather.spike_chance = 1.0
        self.note("redis is slow, and in the middle of it:")

        def freeze() -> None:
            weather.spike_chance = 0.0
            if self.deployment.workers:
                process = self.chance.choice(list(self.deployment.workers))
                seconds = self.chance.uniform(1.5, 3)
                self.note(f"freeze {process.name} for {seconds:.2f} s")
                self.deployment.loop.pause(process)
                self.later(seconds, lambda: self.deployment.loop.resume(process))

        self.later(self.chance.uniform(0.1, 0.4), freeze)

    def migrate(self) -> None:
        """Some shards are moved to workers drawn by chance, whoever runs them: some at once, some to two at once."""
        workers = [process for process, worker in self.deployment.workers.items() if worker.address]
        for _ in range(self.chance.randint(1, 4)):
            if len(workers) > 1:
                asked, to = self.chance.choice(workers), self.chance.choice(workers)
                shard = self.chance.randrange(self.deployment.contract.grid.shard_count)
                self.note(f"{asked.name}: move shard {shard} to {to.name}")
                self.deployment.migrate(asked, shard, to)

    def migrate_and_kill(self) -> None:
        """A worker dies in the middle of migrations."""
        self.migrate()
        self.later(self.chance.uniform(0, 0.3), self.kill_worker)

    def drain(self) -> None:
        """SIGTERM to a worker; another one starts when it has gone."""
        started = [process for process, worker in self.deployment.workers.items() if worker.address]
        if started:
            process = self.chance.choice(started)
            self.note(f"drain {process.name}")
            self.deployment.drain(process)

    def kill_gateway(self) -> None:
        """kill -9 of a gateway; another one starts at once."""
        if self.deployment.gateways:
            process = self.chance.choice(list(self.deployment.gateways))
            self.note(f"kill {process.name}")
            self.deployment.kill(process)
            self.deployment.start_gateway()

    def reset_connections(self) -> None:
        """A part of all connections breaks."""
        self.note(f"reset {self.deployment.network.reset_some(self.chance.uniform(0.1, 1))} connections")

    def stall_network(self) -> None:
        """Some pairs of processes cannot reach each other for a while."""
        network = self.deployment.network
        processes = [*self.deployment.workers, *self.deployment.gateways]
        for _ in range(self.chance.randint(1, 3)):
            if len(processes) > 1:
                a, b = self.chance.sample(processes, 2)
                self.note(f"stall {a.name} - {b.name}")
                network.stall(a, b)
        self.later(self.chance.uniform(0.2, 4), network.heal)

    def rough_network(self) -> None:
        """Delays and resets for a while."""
        network = self.deployment.network
        network.weather = Weather(0.001, 0.05, self.chance.uniform(0, 0.05), 0.5, self.chance.choice((0, 0.002)))
        self.note(f"network {network.weather}")
        self.later(self.chance.uniform(0.5, 3), lambda: setattr(network, "weather", Weather()))

    def slow_redis(self) -> None:
        """Calls take long, and some are lost on the way there or back."""
        weather = self.deployment.redis_weather
        weather.spike_chance = self.chance.uniform(0, 0.5)
        weather.lost_before_chance = self.chance.choice((0, 0.05))
        weather.lost_after_chance = self.chance.choice((0, 0.05, 0.2))
        self.note(f"redis {weather}")
        self.later(self.chance.uniform(0.5, 3), self.calm_redis)

    def no_redis(self) -> None:
        """Redis refuses, or does not answer."""
        weather = self.deployment.redis_weather
        weather.refuse, weather.black_hole = self.chance.choice(((True, False), (False, True)))
        self.note("redis refuses" if weather.refuse else "redis does not answer")
        self.later(self.chance.uniform(0.2, 4), self.calm_redis)

    def calm_redis(self) -> None:
        """Redis is well again."""
        weather = self.deployment.redis_weather
        weather.refuse = weather.black_hole = False
        weather.spike_chance = weather.lost_before_chance = weather.lost_after_chance = 0.0

    def no_blobs(self) -> None:
        """Blob storage refuses for a while, or loses answers."""
        weather = self.deployment.blob_weather
        weather.refuse = self.chance.random() < 0.5
        weather.lost_after_chance = 0.0 if weather.refuse else 0.3
        self.note("blobs refuse" if weather.refuse else "blobs lose answers")
        self.later(self.chance.uniform(0.5, 4), self.calm_blobs)

    def calm_blobs(self) -> None:
        """Blob storage is well again."""
        self.deployment.blob_weather.refuse = False
        self.deployment.blob_weather.lost_after_chance = 0.0

    def tear_snapshot(self) -> None:
        """The newest snapshot object of a shard loses its end."""
        disk = self.deployment.disk
        shard = self.chance.randrange(self.deployment.contract.grid.shard_count)
        prefix = f"snap/{self.deployment.contract.world}/{shard}/"
        names = sorted(name for name in disk.objects if name.startswith(prefix))
        if len(names) >= 2:
            data, _ = disk.objects[names[-1]]
            disk.store(names[-1], data[: self.chance.randrange(len(data))])
            self.note(f"tear {names[-1]}")

    def fail_over(self) -> None:
        """The primary is gone; a replica takes its place, and the old primary is heard by some for a while."""
        deployment = self.deployment
        lose = self.chance.choice((0, 1, 5, 30))
        stuck = [o for o in deployment.ownerships if self.chance.random() < 0.5]
        old = deployment.redis.fail_over(lose)
        for ownership in stuck:
            ownership.stay_on(old)
        self.lineage.failed_over()
        self.note(f"failover, at most {lose} writes lost, {len(stuck)} clients stay on the old primary")

        def heal() -> None:
            for ownership in stuck:
                ownership.stay_on(None)

        self.later(self.chance.uniform(0.1, 2), heal)


def faults_for(level: CommitLevel) -> list[Fault]:
    """Every kind of fault that a commit level promises to survive, likelier ones more than once."""
    of = Troublemaker
    faults: list[Fault] = [
        *(of.kill_worker, of.kill_worker, of.kill_worker, of.pause_worker, of.freeze_mid_append, of.kill_gateway),
        *(
            of.reset_connections,
            of.stall_network,
            of.rough_network,
            of.slow_redis,
            of.no_redis,
            of.no_blobs,
            of.tear_snapshot,
        ),
        *(of.migrate, of.migrate, of.migrate_and_kill, of.drain),
    ]
    if level >= CommitLevel.L2:
        faults += [of.fail_over, of.fail_over]
    return faults
