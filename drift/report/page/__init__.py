"""The pages: Jinja2 templates with everything inline, so that a file on disk looks like a served page.

The pages load nothing and run no scripts: their Content-Security-Policy forbids it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files as files_of_package
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from drift.report.page import history, words
from drift.report.page.axis import in_utc
from drift.report.page.chart import shape
from drift.result import QUESTIONS, RunResult

TOP_FEATURES = 5


def render_index(
    runs: Sequence[RunResult],
    files: Collection[str],
    *,
    trace_url: str | None = None,
    singles: Sequence[str] = (),
    now: datetime | None = None,
) -> str:
    """The page of all runs, newest first.

    `files` are the members that exist, as `<run_id>/report.html`. `trace_url` is the base of links to traces, None for
    no links. `singles` are the files of single comparisons. With `now` the page shows the age of its newest run.
    """
    shown = history.recent(runs)
    axis = history.time_axis(shown) if shown else None
    return _render(
        "index.html.j2",
        runs=runs,
        files=files,
        charts=[history.verdict_chart(shown, axis), history.share_chart(shown, axis)] if axis else [],
        left_out=len(runs) - len(shown),
        axis=axis,
        last_known=next((run for run in runs if run.recommendation != "UNKNOWN"), None),
        trace_url=_http(trace_url),
        singles=singles,
        now=now,
    )


def render_run(run: RunResult, files: Collection[str], *, trace_url: str | None = None) -> str:
    """The page of one run; `files` and `trace_url` as for `render_index`."""
    return _render("run.html.j2", run=run, files=files, trace_url=_http(trace_url))


def _http(base: str | None) -> str | None:
    """A base of links without a trailing slash; None for anything but http(s)."""
    return base.rstrip("/") if base and base.startswith(("http://", "https://")) else None


def _render(name: str, **values: Any) -> str:  # noqa: ANN401 (a template takes anything)
    return page_environment().get_template(name).render(values)


@cache
def page_environment(package: str | None = None, more_style: str = "") -> Environment:
    """The templates, filters and words of these pages, for another page in the same style.

    The `templates` of `package` may extend and import ours; `more_style` is CSS that follows ours.
    """
    packages = ["drift.report.page", *([package] if package else [])]
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each) for each in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        style=Markup(_style() + more_style),  # noqa: S704 (our own files)
        policy=page_policy(more_style),
        words=words,
        bar=history.bar,
        bar_top=history.bar_top,
        shape=shape,
        in_utc=in_utc,
        questions=QUESTIONS,
        top_features=TOP_FEATURES,
    )
    return environment


@cache
def _style() -> str:
    return files_of_package(__name__).joinpath("templates/page.css").read_text(encoding="utf-8")


@cache
def page_policy(more_style: str = "") -> str:
    """A Content-Security-Policy that allows the inline style sheet and icon, and nothing else."""
    digest = base64.b64encode(hashlib.sha256((_style() + more_style).encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
