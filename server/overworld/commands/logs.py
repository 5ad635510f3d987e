"""Sets up logging, once a process: one line an event, JSON for machines or columns for people.

The standard library's loggers (of aiohttp, Redis and Azure clients) go the same way.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_NOISY = ("azure", "aiohttp.access", "asyncio", "picows", "urllib3")


def set_up(form: Literal["json", "console"], level: str, **about: str) -> None:
    """Log to standard error. `about` (role, name) stands in every line."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        # Its own way with exceptions shows the values of all variables, keys and tokens among them.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=28, exception_formatter=structlog.dev.plain_traceback
        )
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        *([structlog.processors.format_exc_info] if form == "json" else []),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(**about)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, _LEVELS[level]))
