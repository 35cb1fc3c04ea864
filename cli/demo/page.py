"""The page that the demo leaves: one file, rendered like the drift pages, that loads nothing else."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from importlib.resources import files as files_of_package
from typing import Final

import msgspec
from markupsafe import Markup

from cli.demo import words
from cli.demo.drawings import act_strip, histogram, kinds_of_input, waterfall
from cli.demo.evidence import Evidence
from cli.demo.play import SAMPLE_EVERY_S
from cli.demo.samples import OVER_S
from cli.demo.spans import Span
from cli.live_display import axis_ms
from drift.report.page import page_environment
from drift.report.page.axis import TimeAxis
from drift.report.page.chart import ChartLine, Stretch, line_chart
from drift.report.page.history import changes, share_chart, verdict_chart
from leeway.telemetry import names

_PACKAGE: Final = "cli.demo"
_SHOWN_OF_A_SPAN: Final = ("leeway.", "feature_flag.", names.HTTP_ROUTE, names.HTTP_STATUS)


def render(evidence: Evidence, files: Collection[str], commands: Sequence[tuple[str, str]]) -> str:
    """The page. `files` are existing report files, as `<run_id>/report.html`; `commands` to try, with descriptions."""
    style = files_of_package(_PACKAGE).joinpath("templates/demo.css").read_text(encoding="utf-8")
    axis = time_axis(evidence)
    template = page_environment(_PACKAGE, style).get_template("demo.html.j2")
    return template.render(
        evidence=evidence,
        text=words,
        figure_title=words.figure_title(evidence),
        charts=_charts(evidence, axis),
        axis=axis,
        slow=waterfall("slow-trace", "A slow request", evidence.slow),
        slow_facts=_facts(evidence.slow),
        run_trace=waterfall("run-trace", "The drift run", evidence.run_trace),
        histograms=[(shift, histogram(f"feature-{shift.feature}", shift)) for shift in evidence.shifts],
        files=files,
        commands=commands,
        over_s=OVER_S,
        sample_every_s=SAMPLE_EVERY_S,
        data=embedded(evidence),
    )


def embedded(evidence: Evidence) -> Markup:
    """The evidence as JSON that is safe inside a script element; times as in the charts' attributes."""
    # msgspec would write times in UTC with Z, unlike the charts.
    text = json.dumps(msgspec.to_builtins(evidence, builtin_types=(datetime,)), default=datetime.isoformat)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704 (no tag is left)


def time_axis(evidence: Evidence) -> TimeAxis:
    """From the start of the first act to the end of the last one, or to the last run if that is later."""
    ends = [evidence.acts[-1].end, *(run.time for run in evidence.runs)]
    return TimeAxis(evidence.acts[0].start, max(ends))


def _charts(evidence: Evidence, axis: TimeAxis) -> Mapping[str, Markup]:
    acts = [Stretch(each.start, each.end, each.act.title) for each in evidence.acts]
    runs = evidence.runs
    figures = [each for each in evidence.figures if axis.start <= each.at <= axis.end]
    latency = [
        ChartLine(name, [(each.at, getattr(each.latency, name)) for each in figures], tone)
        for name, tone in (("p99", 4), ("p95", 2), ("p50", 1))
    ]
    title = words.figure_title(evidence)
    live = [(run.time, words.first_figure(run)[1].current) for run in runs]
    card = next((each for run in runs if (each := words.first_figure(run)[1].reference) is not None), None)
    return {
        "acts": act_strip(axis, acts),
        "latency": line_chart(
            "latency", "Latency of single predictions in milliseconds", axis, latency,
            markers=list(changes(runs)), stretches=acts, show=axis_ms, height=190,
        ),
        "share": share_chart(runs, axis, acts),
        "performance": line_chart(
            "performance", f"{title} on the newest labels", axis, [ChartLine(title, live)],
            threshold=ChartLine("card", [] if card is None else [(axis.start, card), (axis.end, card)]),
            stretches=acts, height=130,
        ),
        "verdicts": verdict_chart(runs, axis, acts),
        "kinds": kinds_of_input(evidence.acts),
    }  # fmt: skip


def _facts(spans: Sequence[Span]) -> list[tuple[str, str, str]]:
    """Span, attribute and value for the attributes of a trace that the page shows."""
    return [
        (span.name, name, _value(value))
        for span in spans
        for name, value in span.attributes.items()
        if name.startswith(_SHOWN_OF_A_SPAN)
    ]


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
