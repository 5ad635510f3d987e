"""A whole deployment in one process: the product's workers and gateways on simulated stores, network and clock."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass

from overworld.game import Title, contract_of
from overworld.gateway.players import Players
from overworld.settings import GatewaySettings, WorkerSettings, load
from overworld.store.blob_memory import MemoryBlobs, MemoryDisk
from overworld.store.memory import MemoryDirectory, MemoryOwnership, MemoryRedis
from overworld.store.ports import CommitLevel, CommitPolicy
from overworld.store.snapshots import SnapshotStore
from overworld.worker.service import Worker
from overworld.worker.takeover import Stores
from tests.simulation.bots import Address, Bot, Witness
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.sockets import serve
from tests.simulation.stores import SeededFaults, StoreWeather

KEY = b"simulated cluster key, 32 bytes.."
WORLD = "simulated"
BALANCE_REST_S, BALANCE_MOVES_MAX = 1.5, 2
_SWEEP_S = 0.25


@dataclass
class RunningGateway:
    """One gateway process."""

    process: Process
    players: Players
    address: Address


class Deployment:
    """Starts, kills and replaces processes. All chance comes from `chance`."""

    def __init__(self, loop: SimulatedLoop, title: Title, level: CommitLevel, chance: random.Random) -> None:
        self.loop = loop
        self.title = title
        self.chance = chance
        self.contract = contract_of(title, WORLD, seed=7)
        self.network = Network(loop, random.Random(chance.getrandbits(64)))
        self.redis, self.disk = MemoryRedis(), MemoryDisk()
        self.redis_weather, self.blob_weather = StoreWeather(), StoreWeather()
        self.commit = CommitPolicy(level)
        self.workers: dict[Process, Worker] = {}
        self.ownerships: list[MemoryOwnership] = []
        self.gateways: dict[Process, RunningGateway] = {}
        self.bots: list[Bot] = []
        self._started = 0
        self.gone: list[Process] = []
        """Workers that have stopped in order and were not replaced yet."""
        self.moves: Counter[str] = Counter()
        """Migrations that were asked for, by result."""
        self.standbys = random.Random(chance.getrandbits(64)).randrange(2)
        """Workers that follow each shard."""

    # ------------------------------------------------------------ processes

    def start_worker(self) -> Process:
        """A new worker process."""
        self._started += 1
        process = Process(f"worker-{self._started}")
        self.loop.start(process, self._run_worker(process))
        return process

    def start_gateway(self) -> Process:
        """A new gateway process."""
        self._started += 1
        process = Process(f"gateway-{self._started}")
        self.loop.start(process, self._run_gateway(process))
        return process

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        self.loop.kill(process)
        self.workers.pop(process, None)
        self.gateways.pop(process, None)

    def migrate(self, asked: Process, shard: int, to: Process) -> None:
        """Ask a worker to have a shard moved to another."""
        worker, address = self.workers[asked], self.workers[to].address

        async def move() -> None:
            outcome = await worker.migrate(shard, address)
            self.moves[outcome.result] += 1

        self.loop.start(asked, move())

    def drain(self, process: Process) -> None:
        """SIGTERM to a worker; another one starts once it is gone."""
        worker = self.workers.pop(process)

        async def stop() -> None:
            await worker.stop()
            self.gone.append(process)

        self.loop.start(process, stop())

    def replace_gone(self) -> None:
        """Another worker for each that was drained."""
        for process in self.gone:
            self.loop.kill(process)
            self.start_worker()
        self.gone.clear()

    async def _run_worker(self, process: Process) -> None:
        settings = load(
            WorkerSettings,
            name=process.name,
            lease_ttl_s=1.0,
            snapshot_interval_s=2.0,
            start_wait_s=0.3,
            balance_settle_s=0.5,
            balance_rest_s=BALANCE_REST_S,
            balance_moves_max=BALANCE_MOVES_MAX,
            standbys=self.standbys,
            stop_timeout_s=6.0,
            move_timeout_s=5.0,
        )
        ownership = MemoryOwnership(self.redis, WORLD, self.commit, self._faults(self.redis_weather))
        self.ownerships.append(ownership)
        shelf = SnapshotStore(MemoryBlobs(self.disk, faults=self._faults(self.blob_weather)), WORLD)
        directory = MemoryDirectory(self.redis, self._faults(self.redis_weather))
        worker = Worker(settings, self.contract, self.title, Stores(ownership, shelf), directory, KEY)
        self.workers[process] = worker
        await worker.start()

    async def _run_gateway(self, process: Process) -> None:
        settings = load(GatewaySettings, name=process.name, origin_absent=True, idle_s=5)
        directory = MemoryDirectory(self.redis, self._faults(self.redis_weather))
        players = Players(settings, self.contract, directory, KEY, process.name)
        server = await serve(players, process.name, 80)
        self.gateways[process] = RunningGateway(process, players, server.sockets[0].getsockname())
        routing = asyncio.ensure_future(players.routing.run())
        while not routing.done():
            await asyncio.sleep(_SWEEP_S)
            players.sweep()
        await routing

    def _faults(self, weather: StoreWeather) -> SeededFaults:
        return SeededFaults(weather, random.Random(self.chance.getrandbits(64)))

    # ------------------------------------------------------------ players

    def start_bot(self, number: int, witness: Witness) -> None:
        """A player who connects to any gateway, and comes back whenever the socket is lost."""
        bot = Bot(
            number,
            self.title.name,
            lambda: [gateway.address for gateway in self.gateways.values()],
            self._token,
            witness,
            random.Random(self.chance.getrandbits(64)),
        )
        self.bots.append(bot)
        self.loop.start(Process(f"bot-{number}"), bot.play())

    def _token(self, subject: str) -> str:
        guests = next(iter(self.gateways.values())).players
        return guests.guests.issue(subject, guests.wall_s())
