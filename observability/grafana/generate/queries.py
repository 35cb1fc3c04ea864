"""PromQL built from `leeway.telemetry.names`: no metric or label name is written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from leeway.telemetry import names
from leeway.telemetry.names import Metric

WINDOW: Final = "$window"
"""The dashboard's variable: the range of rates and quantiles."""
STEP: Final = "15s"
"""The shortest step of queries over `$window`: `$__rate_interval` is then at least four of them, one minute."""
SCRAPES: Final = "$__rate_interval"
"""Grafana's variable: the shortest range for rates at this zoom, so that cells of a heat map do not overlap."""
WHOLE_RANGE: Final = "$__range"
RUNS: Final = "10m"
"""The range for drift runs, which are rarer than requests."""

SINGLE, BATCH, BOTH = "/predict", "/predict/batch", "/predict|/predict/batch"

Operator: TypeAlias = Literal["=", "!=", "=~", "!~"]
Part: TypeAlias = Literal["bucket", "count", "sum"]


@dataclass(frozen=True)
class Match:
    """A label matcher for an attribute."""

    attribute: str
    value: str
    operator: Operator = "="

    def __str__(self) -> str:
        return f'{names.prometheus_label(self.attribute)}{self.operator}"{self.value}"'


OF_MODEL: Final = Match(names.MODEL_VERSION, "$model", "=~")
OF_INSTANCE: Final = Match("instance", "$instance", "=~")
ROUTE_SINGLE: Final = Match(names.HTTP_ROUTE, SINGLE)
ROUTE_BATCH: Final = Match(names.HTTP_ROUTE, BATCH)
ROUTE_BOTH: Final = Match(names.HTTP_ROUTE, BOTH, "=~")
FAILED: Final = Match(names.HTTP_STATUS, "5..", "=~")


OF_THE_SERVICE: Final = frozenset({
    names.HTTP_REQUEST_DURATION, names.HTTP_ACTIVE_REQUESTS, names.EVENT_LOOP_LAG, names.PREDICTION_DURATION,
    names.PREDICTION_SCORES, names.PREDICTION_OUTCOMES, names.UNUSUAL_FEATURES, names.INFERENCE_DURATION,
    names.LOOKUP_DURATION, names.REQUEST_REJECTED, names.LOG_SPOOLED, names.LOG_WRITTEN, names.LOG_UNRECORDED,
    names.LOG_BACKLOG, names.LOG_BACKLOG_AGE, names.DRAINER_UP, names.API_KEY_REQUESTS,
})  # fmt: skip
"""Metrics of the service, of which the dashboard's variable `$instance` selects instances."""


def series(metric: Metric, *where: Match, part: Part | None = None) -> str:
    """A selector for the metric's series; for a histogram, of its `part`."""
    name = metric.prometheus_name + (f"_{part}" if part else "")
    matches = (*where, OF_INSTANCE) if metric in OF_THE_SERVICE else where
    return name + ("{" + ", ".join(map(str, matches)) + "}" if matches else "")


def rate(counter: str, over: str = WINDOW) -> str:
    """Events per second (for a counter of seconds: seconds per second)."""
    return f"rate({counter}[{over}])"


def increase(counter: str, over: str = WINDOW) -> str:
    """Events in the range."""
    return f"increase({counter}[{over}])"


def total(expression: str, *by: str) -> str:
    """The sum by the attributes."""
    return _aggregate("sum", expression, by)


def largest(expression: str, *by: str) -> str:
    """The maximum by the attributes."""
    return _aggregate("max", expression, by)


def _aggregate(operation: str, expression: str, by: tuple[str, ...]) -> str:
    labels = ", ".join(map(names.prometheus_label, by))
    return f"{operation} by ({labels}) ({expression})" if by else f"{operation}({expression})"


def quantile(share: float, metric: Metric, *where: Match, by: tuple[str, ...] = (), over: str = WINDOW) -> str:
    """The `share` quantile of a histogram, interpolated within its bucket."""
    buckets = total(rate(series(metric, *where, part="bucket"), over), *by, names.BUCKET_BOUND)
    return f"histogram_quantile({share:g}, {buckets})"


def heat(metric: Metric, *where: Match) -> str:
    """Events per bucket, for a heat map."""
    return total(increase(series(metric, *where, part="bucket"), SCRAPES), names.BUCKET_BOUND)


def ratio(part: str, whole: str) -> str:
    """`part` ÷ `whole`; zero if `part` is absent, absent if `whole` is absent or zero."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def or_else(expression: str, value: int) -> str:
    """The expression, or `value` if it is absent; for values that a mapping turns into texts."""
    return f"{expression} or vector({value})"


def or_nan(expression: str) -> str:
    """The expression, or NaN if it is absent: a panel with several values shows a text in its place."""
    return f"{expression} or on () vector(NaN)"


def over(count: str, least: int, expression: str) -> str:
    """The expression where `count` is more than `least`: a share of a handful of events is noise."""
    return f"{expression} and on () {count} > {least}"


def legend(*attributes: str, between: str = " · ") -> str:
    """A legend with the values of these attributes."""
    return between.join("{{" + names.prometheus_label(attribute) + "}}" for attribute in attributes)


class Recorded:
    """Recorded series: see observability/prometheus/rules."""

    OBJECTIVE: Final = "leeway:objective:target"
    BURN_LIMIT: Final = "leeway:objective:burn_rate_limit"
    BUDGET_LEFT: Final = "leeway:objective:budget_left"
    LAST_RUN_AGE: Final = "leeway:drift:last_run_age_seconds"
    LAST_CYCLE_AGE: Final = "leeway:drift:last_cycle_age_seconds"
    SCORE_DISTANCE: Final = "leeway:score:wasserstein5m"
    SPOOL_USED: Final = "leeway:spool:used_ratio"


def objective(name: str) -> str:
    """The target of one objective as a scalar, such as 0.999."""
    return f'scalar({Recorded.OBJECTIVE}{{objective="{name}"}})'


def burn_rate(bad_ratio: str, name: str) -> str:
    """The burn rate of the objective's error budget: 1 uses it up exactly in its window."""
    return f"{bad_ratio} / (1 - {objective(name)})"
