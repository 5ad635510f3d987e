"""Spans, from where they are told to a collector; and that nothing of it is there while it is off."""

from __future__ import annotations

import subprocess
import sys

import pytest

from overworld import settings, telemetry, tracing
from overworld.commands import traces
from overworld.errors import SettingsError
from overworld.settings import ClusterSettings
from overworld.tracing import Spans, of_session, of_shard
from tests.parts.collector import Collector

KEY = "k" * settings.CLUSTER_KEY_CHARS_MIN
OFF = """
import sys
from overworld import settings, tracing
from overworld.commands import traces
import overworld.gateway.service, overworld.worker.service
cluster = settings.load(settings.ClusterSettings, cluster_key="k" * 32)
with traces.told(cluster, "worker", "w"):
    assert tracing.spans.sink is None
    tracing.spans.tell("session", tracing.of_session(1), 1.0, {})
print([name for name in sys.modules if name.split(".")[0] == "opentelemetry"])
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING", raising=False)


def cluster(kind: str = "otlp", share: float = 1.0) -> ClusterSettings:
    return settings.load(ClusterSettings, cluster_key=KEY, traces=kind, traces_share=share)


def sent(result: str) -> float:
    return float(telemetry.trace_spans_total.labels(result)._value.get())


def test_while_off_nothing_of_opentelemetry_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_spans_of_one_session_are_one_trace_from_whatever_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with traces.told(cluster(), "worker", "w-0"):
            tracing.spans.tell("session.attach", of_session(7), 0.25, {"session": 7, "shard": 3, "resume": False})
            tracing.spans.tell("shard.takeover", of_shard(3, 9), 1.5, {"shard": 3}, whole=True)
        with traces.told(cluster(), "gateway", "g-0"):
            tracing.spans.tell("session", of_session(7), 60.0, {"session": 7}, whole=True)
            tracing.spans.tell("session", of_session(8), 60.0, {"session": 8}, whole=True)
            tracing.spans.tell("admin.call", "", 0.1, {}, error="AdminError()")
    found = {(span.name, span.about.get("overworld.session", 0)): span for span in collector.spans}
    attach, whole, other = found["session.attach", 7], found["session", 7], found["session", 8]
    assert (attach.service, attach.instance) == ("overworld-worker", "w-0")
    assert (whole.service, whole.instance) == ("overworld-gateway", "g-0")
    assert attach.trace == whole.trace != other.trace
    assert attach.parent == whole.span
    assert whole.parent == ""
    assert attach.about == {"overworld.session": 7, "overworld.shard": 3, "overworld.resume": False}
    assert attach.seconds == pytest.approx(0.25, abs=1e-6)
    assert found["admin.call", 0].failed
    assert len({span.trace for span in collector.spans}) == 4


def test_a_session_of_64_bits_ends_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with traces.told(cluster(), "gateway", "g"):
            tracing.spans.tell("session", of_session(2**64 - 1), 1.0, {"session": 2**64 - 1})
    assert [span.about for span in collector.spans] == [{"overworld.session": str(2**64 - 1)}]


def test_a_share_keeps_the_same_traces_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    for role in ("worker", "gateway"):
        with Collector() as collector:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
            with traces.told(cluster(share=0.3), role, role):
                for number in range(400):
                    tracing.spans.tell("session", of_session(number), 1.0, {}, whole=role == "gateway")
        kept.append({span.trace for span in collector.spans})
    assert kept[0] == kept[1]
    assert 60 < len(kept[0]) < 180


def test_what_a_collector_does_not_take_is_counted_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    failed, fine = sent("failed"), sent("sent")
    with Collector(status=400) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with traces.told(cluster(), "worker", "w"):
            tracing.spans.tell("session", of_session(1), 1.0, {})
    assert collector.calls == 1
    assert (sent("failed") - failed, sent("sent") - fine) == (1, 0)
    assert tracing.spans.sink is None


def test_azure_monitor_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        key = "00000000-0000-0000-0000-000000000001"
        to = f"InstrumentationKey={key};IngestionEndpoint={collector.url}"
        monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", to)
        with traces.told(cluster("azure"), "gateway", "g-0"):
            tracing.spans.tell("session.join", of_session(7), 0.5, {"session": 7})
    [item] = [one for one in collector.azure if "Dependency" in one["name"]]
    assert item["data"]["baseData"]["name"] == "session.join"
    assert item["tags"]["ai.operation.id"] == f"{traces.ids_of('main', of_session(7))[0]:032x}"
    assert item["tags"]["ai.cloud.role"] == "overworld.overworld-gateway"


def test_without_a_place_to_send_them_azure_is_refused_in_one_line() -> None:
    with pytest.raises(SettingsError, match="OVERWORLD_TRACES"), traces.told(cluster("azure"), "worker", "w"):
        pass


def test_what_is_timed_is_told_with_its_error() -> None:
    class Kept:
        def __init__(self) -> None:
            self.spans: list[tracing.Span] = []

        def take(self, span: tracing.Span) -> None:
            self.spans.append(span)

    spans, kept = Spans(), Kept()
    spans.sink = kept
    with spans.timed("shard.snapshot", "", {"tick": 3}):
        pass
    with pytest.raises(ValueError, match="no room"), spans.timed("shard.snapshot", "", {"tick": 4}):
        raise ValueError("no room")
    assert [(span.error, dict(span.about)) for span in kept.spans] == [
        ("", {"tick": 3}), ("ValueError('no room')", {"tick": 4}),
    ]  # fmt: skip
    assert all(span.began_ns <= span.ended_ns for span in kept.spans)
