"""`python -m loadtest.prove NAME [--option value ...]`; without a name, the list of claims."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
import traceback
from typing import Any

from loadtest.prove.proof import Proof

CLAIMS = {
    "fresh-clone": "from an empty directory to a playable page, and every test passes",
    "world-e2e": "what every bot sees is what the workers hold, field by field",
    "browser": "the page in Chromium plays",
    "restart": "a stopped world goes on where it was, from Redis and from a snapshot alone",
    "kill-worker": "a worker dies under players: a short pause, nothing lost",
    "zombie": "a worker that was frozen wakes up and reaches nobody",
    "kill-gateway": "a gateway dies: its players go on at the other one",
    "replay": "a recorded minute gives the same digests in every environment",
    "seamless": "players cross borders all the time while workers die, drain and come: nobody is lost or doubled",
    "migrate": "how long players wait for a shard that moves, and for a standby of one whose worker dies",
    "rolling-restart": "all workers and gateways are replaced under players, who lose nothing",
    "upgrade": "the runbook's upgrade, step by step, under players, seen through the dashboards' own queries",
    "redis-failover": "what players have seen outlives restarts and failovers of Redis",
    "partition": "several hosts: the network breaks between worker and Redis, gateway and worker, and heals",
    "rotation": "Redis passwords that expire are changed under load: no call fails, no connection is cut",
    "simulate": "every invariant holds under faults drawn from seeds, and broken rules are found",
    "simulate-handover": "handover, migration, balance and drain under faults drawn from seeds; broken ones are found",
    "shard-cost": "what a shard costs a worker, as shards grow and entities do not",
    "cost-of-safety": "what levels 0, 1 and 2 cost, and what a failover loses at 1 and at 2",
    "overload": "half as many players again as hold: nobody is closed, time dilates, and everything comes back",
    "deploy-checks": "what deploys is checked against schemas and code, and planted mistakes are found by name",
    "image": "the container image is built and run as non-root on a read-only file system",
    "feel": "the own ship answers within a frame, predictions are right, aimed shots hit, however far the server is",
    "browser-lag": "the page in Chromium plays behind 150 ms: the own ship answers within a frame or two",
    "motion": "others are drawn where the server had them, in both SDKs, on good networks and bad ones",
    "resume": "200 resumes through random resets: the picture of a client that never lost its socket",
    "bytes": "bytes a client and second with 40 ships in view, beside Colyseus",
    "compare": "Overworld beside Colyseus, Node's ws and the bare kernel: one workload, one machine, one table",
    "growth": "how cost grows with players, entities, shards, and viewers of one cell: exponents and a page",
    "limits": "how far one core goes: players, entities, arenas, lateness, memory, each beside its aim",
    "loadtest-catches": "faults planted into the server make a load test fail, by name; a clean run passes",
    "loadtest-azure": "the Locust file for Azure Load Testing, run as its engines would, against a cluster here",
    "crowd": "a thousand ships in view and a budget that does not cover them: near ones every tick, all every second",
    "costs": "milliseconds a tick, bytes an entity, gateway CPU a client",
}


def module_of(name: str) -> str:
    """The module that measures a claim: it has an `Options` dataclass and `run(proof, options)`."""
    return f"loadtest.prove.{name.replace('-', '_')}"


def main(arguments: list[str]) -> int:
    """Run one proof. Returns the exit code: 1 where an invariant is broken or the run itself failed."""
    if not arguments or arguments[0] not in CLAIMS:
        for name, claim in CLAIMS.items():
            print(f"  {name:18} {claim}")
        return 2
    name = arguments[0]
    module: Any = importlib.import_module(module_of(name))
    parser = argparse.ArgumentParser(prog=f"python -m loadtest.prove {name}", description=CLAIMS[name])
    parser.add_argument("--keep-results", action="store_true", help="leave loadtest/results as it is")
    for field in dataclasses.fields(module.Options):
        flag, kind = "--" + field.name.replace("_", "-"), type(field.default)
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default)
        else:
            parser.add_argument(flag, type=kind, default=field.default, metavar=kind.__name__.upper())
    given = vars(parser.parse_args(arguments[1:]))
    keep = given.pop("keep_results")
    options = module.Options(**given)
    proof = Proof(name)
    try:
        module.run(proof, options)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the run has proven nothing and says so
        traceback.print_exc()
        proof.require(False, f"the run itself failed: {error!r}")
    return proof.finish(given) if not keep else proof.finish(given, results=None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
