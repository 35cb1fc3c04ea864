"""The names of all metrics, spans and attributes, with kind, unit and meaning. Constants only.

Units are UCUM: `s`, `By`, `1`; a word in braces is an annotation that does not change the Prometheus name. Shares have
the unit `{share}` instead of `1`, because the Collector would add `_ratio`, but Python's `/metrics` would not.

`docs/reference/metrics.md` is generated from this module (`make docs`), including the remarks after `#:`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Metric:
    """One instrument. `buckets` are the upper bounds of a histogram, in its unit."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name in Prometheus, with `_seconds` or `_bytes` for the unit and `_total` for a counter."""
        suffix = {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        total = "_total" if self.kind == "counter" else ""
        return self.name.replace(".", "_") + suffix + total


# --- attributes -----------------------------------------------------------------------------------------------------
ERROR_TYPE: Final = "error.type"  #: the kind of error, or the exception's type; absent if there was none
HTTP_METHOD: Final = "http.request.method"  #: GET, POST, …; `_OTHER` for an unknown method
HTTP_ROUTE: Final = "http.route"  #: the route, such as /predict; absent for unknown paths
HTTP_STATUS: Final = "http.response.status_code"  #: the response's status code
CLIENT_ADDRESS: Final = "client.address"  #: always `_other`: the client is not recorded
USER_AGENT: Final = "user_agent.original"  #: always `_other`: the client is not recorded
SERVER_ADDRESS: Final = "server.address"  #: host of a client's request
SERVER_PORT: Final = "server.port"  #: port of a client's request
URL_FULL: Final = "url.full"  #: URL of a client's request
URL_TEMPLATE: Final = "url.template"  #: its path; there are only a few
API_KEY_NAME: Final = "leeway.api_key.name"  #: the name of the request's API key, as in the file of keys
API_KEY_OUTCOME: Final = "leeway.api_key.outcome"  #: admitted, missing, unknown, or forbidden (a scope is missing)
MODEL_VERSION: Final = "leeway.model.version"  #: the bundle's version
MODEL_BASIS: Final = "leeway.model.basis"  #: `card` for the held-out data of training, `live` for labelled predictions
PERFORMANCE_FIGURE: Final = "leeway.model.figure"  #: a member of the card's `figures`, such as roc_auc or mae
TYPICALITY: Final = "leeway.input.typicality"  #: usual (no unusual feature), unusual (1 or 2) or strange (3 or more)
OUTCOME: Final = "leeway.prediction.outcome"  #: the predicted class; in metrics `_other` for the rarer of many classes
PREDICTION_ID: Final = "leeway.prediction.id"  #: a UUIDv7, as in the response
PREDICTION_SCORE: Final = "leeway.prediction.score"  #: probability of the positive or predicted class, or a number
PREDICTION_RECORDED: Final = "leeway.prediction.recorded"  #: whether the prediction is in the spool
PREDICTION_SYNTHETIC: Final = "leeway.prediction.synthetic"  #: true for a synthetic request
UNUSUAL_COUNT: Final = "leeway.prediction.unusual_features.count"  #: number of unusual features (batch: maximum)
UNUSUAL_NAMES: Final = "leeway.prediction.unusual_features.names"  #: names of the unusual features
BATCH_SIZE: Final = "leeway.batch.size"  #: number of items in the request, including rejected ones
SCORE_ROWS: Final = "leeway.score.rows"  #: number of rows scored in one call; absent for a single row
SNAPSHOT_ASKED: Final = "leeway.snapshot.asked"  #: customers that a batch looked up; absent for a single prediction
SNAPSHOT_FOUND: Final = "leeway.snapshot.found"  #: whether every customer has a snapshot
FEATURE_NAME: Final = "leeway.feature.name"  #: a feature of the bundle's schema, or `_other`
BUCKET_BOUND: Final = "le"  #: upper bound of a bucket of the score histogram
DRIFT_METHOD: Final = "leeway.drift.method"  #: wasserstein or jensenshannon
DRIFT_QUESTION: Final = "leeway.drift.question"  #: quality, covariate, prediction or performance
DRIFT_SEGMENT: Final = "leeway.drift.segment"  #: a value of the column that divides a source, one of the 20 worst
DRIFT_RECOMMENDATION: Final = "leeway.drift.recommendation"  #: NO_ACTION, INVESTIGATE, RETRAIN or UNKNOWN
DRIFT_DECISION: Final = "leeway.drift.decision"  #: the decision from the drift share alone: RETRAIN or NO_ACTION
DRIFT_RUN_ID: Final = "leeway.drift.run.id"  #: a UUIDv7, as in the URL of the report
DRIFT_WINDOW_ROLE: Final = "leeway.drift.window.role"  #: reference or current
DRIFT_WINDOW_START: Final = "leeway.drift.window.start"  #: start of the current window, ISO 8601
DRIFT_WINDOW_END: Final = "leeway.drift.window.end"  #: end of the current window, ISO 8601
DRIFT_DETECTED_FEATURES: Final = "leeway.drift.detected_features"  #: names of the drifted features
DRIFT_REASON: Final = "leeway.drift.reason"  #: the recommendation's reason in one sentence
DRIFT_ROWS: Final = "leeway.drift.rows"  #: predictions in the window
DRIFT_SUBJECTS: Final = "leeway.drift.subjects"  #: subjects in the window, each compared once
DRIFT_REPORT_URL: Final = "leeway.drift.report.url"  #: where the run's report is
CPU_MODE: Final = "cpu.mode"  #: user or system
TELEMETRY_SIGNAL: Final = "leeway.telemetry.signal"  #: traces or metrics
TRAFFIC_KIND: Final = "leeway.traffic.kind"  #: kind of request that `leeway traffic` sent
TRAFFIC_DRIFT: Final = "leeway.traffic.drift"  #: strength of the drift in its input, 0 to 1
FAULT_NAME: Final = "leeway.fault.name"  #: slow_scoring, slow_snapshots, no_snapshots or errors
FLAG_KEY: Final = "feature_flag.key"  #: the fault injected into the request; the last one if there are several
FLAG_VARIANT: Final = "feature_flag.result.variant"  #: on
FLAG_VALUE: Final = "feature_flag.result.value"  #: length of the delay, if the fault is one
FLAG_REASON: Final = "feature_flag.result.reason"  #: static if every call is affected, split if a share is
FLAG_PROVIDER: Final = "feature_flag.provider.name"  #: leeway

OTHER: Final = "_other"
"""Replaces values from clients, so that cardinality stays bounded."""


def prometheus_label(attribute: str) -> str:
    """The attribute's name as a label in Prometheus."""
    return attribute.replace(".", "_")


# --- spans ----------------------------------------------------------------------------------------------------------
SPAN_SERVER: Final = "{method} {route}"  #: one request; named by the instrumentation
SPAN_SNAPSHOT_LOOKUP: Final = "snapshot lookup"  #: lookup of the customers' features in the database
SPAN_SCORE: Final = "score"  #: comparison of the features with the reference, and the call of the model
SPAN_DRIFT_RUN: Final = "drift run"  #: one comparison; links to the most unusual predictions of the window
SPAN_LOAD_REFERENCE: Final = "load reference"  #: loading the bundle and its reference
SPAN_LOAD_WINDOW: Final = "load window"  #: aggregating the window in the database; reading labels
SPAN_COMPARE: Final = "compare"  #: comparing each distance with its effective threshold
SPAN_JUDGE: Final = "judge"  #: computing verdicts, decision and recommendation
SPAN_PUBLISH: Final = "publish"  #: writing the report and the row in the database
SPAN_CLIENT: Final = "{method} {path}"  #: a request of `leeway traffic`; there are only a few paths
EVENT_FLAG_EVALUATED: Final = "feature_flag.evaluation"  #: a fault was injected into the request

# --- buckets --------------------------------------------------------------------------------------------------------
REQUEST_BUCKETS: Final = (
    0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
INFERENCE_BUCKETS: Final = (
    0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
)  # fmt: skip
SCORE_BUCKETS: Final = tuple(round(step / 20, 2) for step in range(1, 21))
UNUSUAL_BUCKETS: Final = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
RUN_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

# --- every process --------------------------------------------------------------------------------------------------
PROCESS_CPU_TIME: Final = Metric("process.cpu.time", "counter", "s", "Processor time of the process.", (CPU_MODE,))
PROCESS_MEMORY: Final = Metric("process.memory.usage", "gauge", "By", "Physical memory of the process.")
TELEMETRY_DROPPED: Final = Metric(
    "leeway.telemetry.dropped", "counter", "{item}",
    "Spans and metric data points that were not delivered; only with an OTLP endpoint.",
    (TELEMETRY_SIGNAL,),
)  # fmt: skip

# --- the service ----------------------------------------------------------------------------------------------------
HTTP_REQUEST_DURATION: Final = Metric(
    "http.server.request.duration", "histogram", "s", "Duration of HTTP server requests.",
    (HTTP_METHOD, HTTP_ROUTE, HTTP_STATUS), REQUEST_BUCKETS,
)  # fmt: skip
HTTP_ACTIVE_REQUESTS: Final = Metric(
    "http.server.active_requests", "gauge", "{request}", "HTTP requests in flight.", (HTTP_METHOD,)
)
API_KEY_REQUESTS: Final = Metric(
    "leeway.api_key.requests", "counter", "{request}",
    "Requests by API key, where keys are needed; without a name if the key is missing or unknown.",
    (API_KEY_NAME, API_KEY_OUTCOME),
)  # fmt: skip
PREDICTION_DURATION: Final = Metric(
    "leeway.prediction.duration", "histogram", "s",
    "Time to look up, score and record a single prediction, or until it failed; without batches.",
    (MODEL_VERSION, TYPICALITY, ERROR_TYPE), REQUEST_BUCKETS,
)  # fmt: skip
PREDICTION_SCORES: Final = Metric(
    "leeway.prediction.score", "histogram", "1",
    "Probabilities of the positive or of the predicted class; of predicted numbers their positions in the reference.",
    (MODEL_VERSION,), SCORE_BUCKETS,
)  # fmt: skip
PREDICTION_OUTCOMES: Final = Metric(
    "leeway.prediction.outcomes", "counter", "{prediction}", "Predictions by class.", (MODEL_VERSION, OUTCOME)
)
UNUSUAL_FEATURES: Final = Metric(
    "leeway.prediction.unusual_features", "histogram", "{feature}",
    "Features of one prediction that are outside the reference's 0.5-99.5 % range or have a new category.",
    (MODEL_VERSION,), UNUSUAL_BUCKETS,
)  # fmt: skip
INFERENCE_DURATION: Final = Metric(
    "leeway.inference.duration", "histogram", "s", "Duration of one call of the model.", (MODEL_VERSION,),
    INFERENCE_BUCKETS,
)  # fmt: skip
LOOKUP_DURATION: Final = Metric(
    "leeway.snapshot.lookup.duration", "histogram", "s", "Duration of one lookup of snapshots.", (ERROR_TYPE,),
    INFERENCE_BUCKETS,
)  # fmt: skip
REQUEST_REJECTED: Final = Metric(
    "leeway.request.rejected", "counter", "{item}", "Rejected items, by the invalid feature.",
    (FEATURE_NAME, ERROR_TYPE),
)  # fmt: skip
EVENT_LOOP_LAG: Final = Metric(
    "leeway.event_loop.lag", "histogram", "s", "Delay of a scheduled call in the event loop.", (), LAG_BUCKETS
)
LOG_SPOOLED: Final = Metric(
    "leeway.prediction_log.spooled", "counter", "{prediction}", "Predictions written to the spool."
)
LOG_WRITTEN: Final = Metric(
    "leeway.prediction_log.written", "counter", "{prediction}", "Predictions moved from the spool to the database."
)
LOG_UNRECORDED: Final = Metric(
    "leeway.prediction_log.unrecorded", "counter", "{prediction}", "Predictions that could not be recorded."
)
LOG_BACKLOG: Final = Metric(
    "leeway.prediction_log.backlog", "gauge", "{prediction}", "Predictions waiting in the spool."
)
LOG_BACKLOG_AGE: Final = Metric(
    "leeway.prediction_log.backlog.age", "gauge", "s", "Age of the oldest prediction waiting in the spool, else 0."
)
DRAINER_UP: Final = Metric(
    "leeway.prediction_log.drainer.up", "gauge", "{drainer}",
    "1 if the process that moves predictions to the database works, else 0.",
)  # fmt: skip
SPOOL_SIZE: Final = Metric("leeway.prediction_log.spool.size", "gauge", "By", "Bytes in use in the spool.")
SPOOL_LIMIT: Final = Metric("leeway.prediction_log.spool.limit", "gauge", "By", "Maximum size of the spool.")
SCORE_REFERENCE: Final = Metric(
    "leeway.model.score.reference", "gauge", "{share}",
    "Cumulative share of the reference's scores up to each bucket bound.", (MODEL_VERSION, BUCKET_BOUND),
)  # fmt: skip
OUTCOME_REFERENCE: Final = Metric(
    "leeway.model.outcome.reference", "gauge", "{share}", "Share of each predicted class in the reference.",
    (MODEL_VERSION, OUTCOME),
)  # fmt: skip
FAULT_ACTIVE: Final = Metric(
    "leeway.fault.active", "gauge", "{fault}", "1 for an active fault, else 0; only if faults are allowed.",
    (FAULT_NAME,),
)  # fmt: skip

# --- the drift worker -----------------------------------------------------------------------------------------------
DRIFT_SHARE: Final = Metric(
    "leeway.drift.share", "gauge", "{share}", "Share of the compared features that drifted.", (MODEL_VERSION,)
)
DRIFT_THRESHOLD: Final = Metric(
    "leeway.drift.threshold", "gauge", "{share}", "Drift share at which retraining is recommended."
)
DRIFT_FEATURE_SCORE: Final = Metric(
    "leeway.drift.feature.score", "gauge", "{distance}", "Distance of a feature from the reference.",
    (FEATURE_NAME, DRIFT_METHOD),
)  # fmt: skip
DRIFT_FEATURE_THRESHOLD: Final = Metric(
    "leeway.drift.feature.threshold", "gauge", "{distance}", "Effective threshold of the distance in this window.",
    (FEATURE_NAME, DRIFT_METHOD),
)  # fmt: skip
DRIFT_FEATURE_DETECTED: Final = Metric(
    "leeway.drift.feature.detected", "gauge", "{feature}", "1 if the feature drifted, else 0.", (FEATURE_NAME,)
)
DRIFT_SEGMENT_SHARE: Final = Metric(
    "leeway.drift.segment.share", "gauge", "{share}", "Share of the features that drifted in a segment.",
    (DRIFT_SEGMENT,),
)  # fmt: skip
DRIFT_VERDICT: Final = Metric(
    "leeway.drift.verdict", "gauge", "{state}", "Verdict: 0 ok, 1 watch, 2 act; absent if unknown.", (DRIFT_QUESTION,)
)
DRIFT_PREDICTION_SCORE: Final = Metric(
    "leeway.drift.prediction.score", "gauge", "{distance}", "Distance of the scores from the reference.",
    (DRIFT_METHOD,),
)  # fmt: skip
DRIFT_TARGET_DIFFERENCE: Final = Metric(
    "leeway.drift.target.difference", "gauge", "{share}",
    "Difference between the label distributions of reference and current; of two classes that of the label rates.",
)  # fmt: skip
DRIFT_WINDOW_ROWS: Final = Metric(
    "leeway.drift.window.rows", "gauge", "{row}", "Rows of the reference or current window.", (DRIFT_WINDOW_ROLE,)
)
DRIFT_WINDOW_SUBJECTS: Final = Metric(
    "leeway.drift.window.subjects", "gauge", "{subject}", "Subjects of the reference or current window.",
    (DRIFT_WINDOW_ROLE,),
)  # fmt: skip
DRIFT_INTERVAL: Final = Metric("leeway.drift.interval", "gauge", "s", "Time between two comparisons.")
DRIFT_LAST_SUCCESS: Final = Metric(
    "leeway.drift.last_success.timestamp", "gauge", "s", "Unix time of the last run with a result."
)
DRIFT_LAST_CYCLE: Final = Metric(
    "leeway.drift.last_cycle.timestamp", "gauge", "s", "Unix time of the last finished cycle."
)
DRIFT_RECOMMENDATION_ACTIVE: Final = Metric(
    "leeway.drift.recommendation.active", "gauge", "{state}", "1 for the current recommendation, 0 for the others.",
    (DRIFT_RECOMMENDATION,),
)  # fmt: skip
DRIFT_RUNS: Final = Metric(
    "leeway.drift.runs", "counter", "{run}", "Finished drift runs.", (DRIFT_RECOMMENDATION, ERROR_TYPE)
)
DRIFT_RUN_DURATION: Final = Metric(
    "leeway.drift.run.duration", "histogram", "s", "Duration of drift runs.", (), RUN_BUCKETS
)
MODEL_PERFORMANCE: Final = Metric(
    "leeway.model.performance", "gauge", "{figure}",
    "How well the model does, by figure: shares from 0 to 1, errors in the target's unit.",
    (PERFORMANCE_FIGURE, MODEL_BASIS),
)  # fmt: skip
MODEL_LABELS: Final = Metric(
    "leeway.model.labels", "gauge", "{label}", "Number of labels behind the figures of performance.", (MODEL_BASIS,)
)

ALL: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""Every metric, in the order above."""

OUR_HISTOGRAMS: Final = tuple(metric for metric in ALL if metric.kind == "histogram")
"""The histograms whose buckets are set by a View."""
