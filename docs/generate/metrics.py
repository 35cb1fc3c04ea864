"""`docs/reference/metrics.md`: every metric, span and attribute, from `leeway.telemetry.names`."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Final

from docs.generate.markdown import code, codes, generated_from, table
from docs.generate.spans import SPANS
from leeway.telemetry import names
from leeway.telemetry.names import Metric

_SOURCE: Final = Path(names.__file__)
_INTRODUCTION: Final = """\
# Metrics, spans and attributes

All telemetry of Leeway, with the names from `leeway/telemetry/names.py`. In Prometheus, dots become underscores,
`_seconds` or `_bytes` and a counter's `_total` are appended, and a histogram becomes three series: `_bucket`, `_sum`
and `_count`. Labels are attribute names with underscores. For a 5xx response, the instrumentation adds `error.type`
with the status to `http.server.request.duration`.

Each process has the resource attributes `service.namespace` (`leeway`), `service.name` (`leeway-service`,
`leeway-drift`, `leeway-traffic`), `service.version` and `service.instance.id`. In Prometheus, `job` is namespace and
name (`leeway/leeway-service`), and `instance` is the instance id. No attribute contains a customer's id."""


def reference() -> str:
    """The whole text."""
    parts = [generated_from("leeway/telemetry/names.py"), _INTRODUCTION, "## Metrics"]
    for heading, group in groupby(names.ALL, _headings().__getitem__):
        metrics = list(group)
        parts += [f"### {heading[0].upper()}{heading[1:]}", _metrics(metrics)]
        parts += [f"`{each.name}` has the buckets {_buckets(each)}." for each in metrics if each.buckets]
    parts += ["## Spans", _spans(), *_events(), *_links(), "## Attributes", _attributes()]
    return "\n\n".join(parts) + "\n"


def _metrics(metrics: list[Metric]) -> str:
    rows = (
        (
            code(each.name),
            code(each.prometheus_name),
            each.kind,
            code(each.unit),
            codes(each.attributes),
            each.description,
        )
        for each in metrics
    )
    return table(("metric", "in Prometheus", "kind", "unit", "attributes", "meaning"), rows)


def _buckets(metric: Metric) -> str:
    bounds = ", ".join(f"{bound:.10f}".rstrip("0").rstrip(".") for bound in metric.buckets)
    return f"{bounds} {metric.unit}" if metric.unit == "s" else bounds


def _spans() -> str:
    meanings = remarks()
    rows = (
        (code(each.name), each.sender, each.kind, each.parent, codes(each.attributes), meanings[each.constant])
        for each in SPANS
    )
    return table(("span", "process", "kind", "parent", "attributes", "meaning"), rows)


def _events() -> list[str]:
    meanings = remarks()
    return [
        f"`{each.name}` may have the event `{getattr(names, event)}`: {meanings[event]}."
        for each in SPANS
        for event in each.events
    ]


def _links() -> list[str]:
    return [
        f"Each link of `{each.name}` leads to the trace of a prediction and has {codes(each.link_attributes)}."
        for each in SPANS
        if each.link_attributes
    ]


def _attributes() -> str:
    meanings = remarks()
    rows = []
    for constant, attribute in attributes().items():
        metrics = codes(metric.name for metric in names.ALL if attribute in metric.attributes)
        spans = codes(span.name for span in SPANS if attribute in span.attributes)
        rows.append((code(attribute), meanings[constant], metrics, spans))
    return table(("attribute", "meaning", "on metrics", "on spans"), rows)


def attributes() -> dict[str, str]:
    """Each attribute's name by the name of its constant, in order; without the names of spans and events."""
    return {
        constant: value
        for constant, value in vars(names).items()
        if isinstance(value, str)
        and constant.isupper()
        and constant != "OTHER"
        and not constant.startswith(("SPAN_", "EVENT_"))
    }


def remarks() -> dict[str, str]:
    """The text after `#:` of each constant in `names`, by the constant's name."""
    text = _SOURCE.read_text(encoding="utf-8")
    return dict(re.findall(r'^([A-Z_]+): Final = "[^"]+"  #: (.+)$', text, flags=re.MULTILINE))


def _headings() -> dict[Metric, str]:
    """The heading of each metric's section in `names`: `# --- the service ---`."""
    found, heading = {}, ""
    for line in _SOURCE.read_text(encoding="utf-8").splitlines():
        if ruled := re.fullmatch(r"# --- (.+?) -+", line):
            heading = ruled[1]
        elif begun := re.match(r"([A-Z_]+): Final = Metric\(", line):
            found[getattr(names, begun[1])] = heading
    return found
