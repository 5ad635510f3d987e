"""A collector of spans: OTLP over HTTP, and Azure Monitor's ingestion, on a port of its own."""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Collected:
    """One span as it came. Ids in hexadecimal."""

    service: str
    instance: str
    name: str
    trace: str
    span: str
    parent: str
    seconds: float
    failed: bool
    about: dict[str, Any]


@dataclass
class Collector:
    """Listens within its `with`. `status`: what it answers."""

    status: int = 200
    spans: list[Collected] = field(default_factory=list)
    azure: list[dict[str, Any]] = field(default_factory=list)
    """Telemetry items of Azure Monitor."""
    calls: int = 0

    def __enter__(self) -> Self:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.calls += 1
                if collector.status == 200:
                    collector.take(self.path, body)
                answer = json.dumps({"itemsReceived": 1, "itemsAccepted": 1, "errors": []}).encode()
                if self.path == "/v1/traces":
                    answer = b""
                self.send_response(collector.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://{HOST}:{self._server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        """What an exporter sent."""
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {one.key: _value(one.value) for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.spans += [_collected(span, about) for span in scope.spans]
        else:
            items = json.loads(body)
            self.azure += items if isinstance(items, list) else [items]


def _collected(span: Any, about: dict[str, Any]) -> Collected:
    return Collected(
        service=about["service.name"],
        instance=about["service.instance.id"],
        name=span.name,
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        failed=span.status.code == 2,
        about={one.key: _value(one.value) for one in span.attributes},
    )


def _value(value: AnyValue) -> Any:
    return getattr(value, str(value.WhichOneof("value")))
