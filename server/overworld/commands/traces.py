"""Hands spans to OpenTelemetry, over OTLP/HTTP or to Azure Monitor: `OVERWORLD_TRACES`. Needs the extra `traces`.

Where to is the exporters' own environment: `OTEL_EXPORTER_OTLP_ENDPOINT` (and its kin), or
`APPLICATIONINSIGHTS_CONNECTION_STRING`. Spans wait in a queue of 2,048 for a thread that sends them; past that they are
dropped, and what an exporter could not send is gone. Both are counted or logged, and hold up nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import xxhash

from overworld import __version__, telemetry, tracing
from overworld.errors import SettingsError
from overworld.settings import ClusterSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

QUEUE_SPANS_MAX = 2048
SEND_S = 5.0
"""How long one export may take, and an orderly stop waits for the last one."""
SEND_EVERY_S = 1.0


@contextlib.contextmanager
def told(cluster: ClusterSettings, role: str, name: str) -> Iterator[None]:
    """Keep the spans of this process while this lasts. Raises SettingsError where it cannot be."""
    if cluster.traces == "off":
        yield
        return
    try:
        exporter = _exporter(cluster.traces)
    except ImportError as error:
        raise SettingsError(f"OVERWORLD_TRACES: needs the extra: pip install overworld[traces] ({error})") from error
    except ValueError as error:
        raise SettingsError(f"OVERWORLD_TRACES: {error}") from error
    provider = _provider(exporter, cluster, role, name)
    tracing.spans.sink = _OpenTelemetry(provider, cluster.world)
    try:
        yield
    finally:
        tracing.spans.sink = None
        # A collector that does not answer must not hold up the end of a process.
        ending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(SEND_S)


def _exporter(kind: str) -> SpanExporter:
    if kind == "azure":
        # Its own statistics would go to Microsoft, and spans it could not send to a disk that is read-only.
        os.environ.setdefault("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
        from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

        return AzureMonitorTraceExporter(disable_offline_storage=True)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(timeout=SEND_S)


def _provider(exporter: SpanExporter, cluster: ClusterSettings, role: str, name: str) -> Any:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    about = {
        "service.namespace": "overworld",
        "service.name": f"overworld-{role}",
        "service.version": __version__,
        "service.instance.id": name or f"{role}-{os.getpid()}",
        "overworld.world": cluster.world,
        "overworld.title": cluster.title,
    }
    # By the trace's id alone, so that all processes keep the same traces.
    provider = TracerProvider(
        sampler=TraceIdRatioBased(cluster.traces_share),
        resource=Resource.create(about),
        shutdown_on_exit=False,
        id_generator=_ids(),
    )
    every_ms, send_ms = SEND_EVERY_S * 1000, SEND_S * 1000
    provider.add_span_processor(
        BatchSpanProcessor(
            _counted(exporter), QUEUE_SPANS_MAX, schedule_delay_millis=every_ms, export_timeout_millis=send_ms
        )
    )
    return provider


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Gives the ids that were chosen for the next span, then random ones."""

        chosen: tuple[int, int] | None = None

        def generate_trace_id(self) -> int:
            return self.chosen[0] if self.chosen else super().generate_trace_id()

        def generate_span_id(self) -> int:
            return self.chosen[1] if self.chosen else super().generate_span_id()

    return Ids()


def _counted(exporter: SpanExporter) -> SpanExporter:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Counted(SpanExporter):
        """The exporter, with what became of spans counted."""

        def export(self, spans: Any) -> SpanExportResult:
            result = exporter.export(spans)
            sent = result is SpanExportResult.SUCCESS
            telemetry.trace_spans_total.labels("sent" if sent else "failed").inc(len(spans))
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Counted()


class _OpenTelemetry:
    """A `tracing.Sink`."""

    def __init__(self, provider: Any, world: str) -> None:
        self._tracer = provider.get_tracer("overworld", __version__)
        self._ids = provider.id_generator
        self._world = world

    def take(self, span: tracing.Span) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            Status,
            StatusCode,
            TraceFlags,
            set_span_in_context,
        )

        context = Context()
        if span.of:
            trace, whole = ids_of(self._world, span.of)
            if span.whole:
                self._ids.chosen = trace, whole
            else:
                parent = SpanContext(trace, whole, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
                context = set_span_in_context(NonRecordingSpan(parent), context)
        about = {f"overworld.{name}": _told_as(value) for name, value in span.about.items()}
        made = self._tracer.start_span(span.name, context=context, attributes=about, start_time=span.began_ns)
        self._ids.chosen = None
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(span.ended_ns)


def ids_of(world: str, of: str) -> tuple[int, int]:
    """Ids of the trace, 128 bits, and of the span that spans it, 64 bits; neither is 0."""
    key = f"{world} {of}".encode()
    return xxhash.xxh3_128_intdigest(key) or 1, xxhash.xxh3_64_intdigest(b"whole " + key) or 1


def _told_as(value: tracing.Value) -> tracing.Value:
    # Sessions are numbers of 64 bits without a sign, which OTLP has none of: one of them would end a whole batch.
    return str(value) if isinstance(value, int) and value >= 2**63 else value
