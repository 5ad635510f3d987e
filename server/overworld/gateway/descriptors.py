"""How many descriptors the system lets this process have: a session in the lane takes two."""

from __future__ import annotations

import resource

SPARE = 256
"""For links, pages, Redis and what Python opens."""


def lane_places(sockets_max: int) -> int:
    """How many sessions may be in the lane, so that every socket still finds a descriptor. Raises this process's soft
    limit first, as far as its hard one permits.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * sockets_max + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return sockets_max if soft == resource.RLIM_INFINITY else max(0, min(sockets_max, soft - SPARE - sockets_max))
