"""Several hosts on one machine: each process of a cluster in a network namespace of its own, joined by a bridge.

Needs root, iproute2 and iptables (Linux). Redis stays with whoever measures, at the bridge's address. `cut` drops every
packet between two hosts, both ways and without a word, as a broken network does; `heal` lets them pass again.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from loadtest.cluster import Cluster, Node, Shape
from loadtest.processes import Process

COMMAND_S = 20.0
REDIS = "redis"


def _run(*words: str, check: bool = True) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if check and done.returncode != 0:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode} (root and iproute2 are needed)")


class Hosts:
    """Namespaces by name. `addresses` has one for each, and one for `REDIS`."""

    def __init__(self, names: list[str]) -> None:
        number = os.getpid()
        self._bridge = f"ow{number % 1_000_000}"
        net = f"10.{200 + number % 50}.{number // 50 % 250}"
        self.addresses = {REDIS: f"{net}.1"} | {name: f"{net}.{10 + i}" for i, name in enumerate(names)}
        self._cuts: set[tuple[str, str]] = set()

    def namespace(self, name: str) -> str:
        """As `ip netns` knows it."""
        return f"{self._bridge}-{name}"

    def make(self) -> None:
        """Bridge, namespaces and the cables between them. Raises OSError."""
        bridge = self._bridge
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "address", "add", f"{self.addresses[REDIS]}/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for number, name in enumerate(self._inside()):
            space, cable = self.namespace(name), f"{bridge}v{number}"
            _run("ip", "netns", "add", space)
            _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            _run("ip", "link", "set", cable, "master", bridge, "up")
            _run("ip", "-n", space, "address", "add", f"{self.addresses[name]}/24", "dev", "eth0")
            _run("ip", "-n", space, "link", "set", "eth0", "up")
            _run("ip", "-n", space, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Everything that `make` made."""
        for name in self._inside():
            _run("ip", "netns", "delete", self.namespace(name), check=False)
        _run("ip", "link", "delete", self._bridge, check=False)

    def cut(self, inside: str, other: str) -> None:
        """No packet passes between a host and another one (or Redis)."""
        self._cuts.add((inside, other))
        self._rules("-A", inside, other)

    def heal(self) -> None:
        """Undo all cuts."""
        for inside, other in self._cuts:
            self._rules("-D", inside, other)
        self._cuts.clear()

    def _rules(self, do: str, inside: str, other: str) -> None:
        tables = ("ip", "netns", "exec", self.namespace(inside), "iptables", "-w", do)
        _run(*tables, "INPUT", "-s", self.addresses[other], "-j", "DROP")
        _run(*tables, "OUTPUT", "-d", self.addresses[other], "-j", "DROP")

    def _inside(self) -> Iterator[str]:
        return (name for name in self.addresses if name != REDIS)


class HostsCluster(Cluster):
    """A cluster whose workers and gateways have a host each."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        names = [f"worker-{i}" for i in range(shape.workers)] + [f"gateway-{i}" for i in range(shape.gateways)]
        self.hosts = Hosts(names)
        listen = ("--bind", "127.0.0.1", self.hosts.addresses[REDIS], "--protected-mode", "no")
        super().__init__(folder, replace(shape, redis_options=(*shape.redis_options, *listen)))

    async def start_stores(self) -> None:
        """The network first."""
        self.hosts.make()
        await super().start_stores()

    def end(self) -> None:
        """And the network last."""
        super().end()
        self.hosts.remove()

    @property
    def redis_url(self) -> str:
        """As every host reaches it."""
        return f"redis://{self.hosts.addresses[REDIS]}:{self.redis_port}/0"

    def _worker(self, index: int) -> Node:
        return self._housed(super()._worker(index), "OVERWORLD_WORKER_HOST", "OVERWORLD_WORKER_HTTP_HOST")

    def _gateway(self, index: int) -> Node:
        names = ("OVERWORLD_GATEWAY_HOST", "OVERWORLD_GATEWAY_HTTP_HOST", "OVERWORLD_GATEWAY_INTERNAL_HOST")
        return self._housed(super()._gateway(index), *names)

    def _housed(self, node: Node, *settings: str) -> Node:
        process, address = node.process, self.hosts.addresses[node.name]
        argv = ["ip", "netns", "exec", self.hosts.namespace(node.name), *process.argv]
        env = {**process.env, **dict.fromkeys(settings, address)}
        return replace(node, process=Process(process.name, argv, process.log, env, cwd=process.cwd), host=address)
