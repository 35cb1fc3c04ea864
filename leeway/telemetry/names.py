"""Every metric, span and attribute name, with kind, unit and meaning. Constants only.

Units are UCUM: `s`, `By`, `1`; a word in braces is an annotation that adds nothing to a Prometheus name. Shares have
the unit `{share}` and not `1`, because the Collector would add `_ratio` and Python's own `/metrics` would not.

`docs/reference/metrics.md` is made from this module (`make docs`): a remark after `#:` is what it says of a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Metric:
    """One instrument. `buckets` are a histogram's upper bounds in its unit."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name in Prometheus: `_seconds` and `_bytes` for the unit, `_total` for a counter."""
        suffix = {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        total = "_total" if self.kind == "counter" else ""
        return self.name.replace(".", "_") + suffix + total


# --- attributes -----------------------------------------------------------------------------------------------------
ERROR_TYPE: Final = "error.type"  #: what went wrong, as a short word or the exception's type; absent where nothing did
HTTP_METHOD: Final = "http.request.method"  #: GET, POST, …; `_OTHER` for unknown ones
HTTP_ROUTE: Final = "http.route"  #: the route as declared, such as /predict; absent for unknown addresses
HTTP_STATUS: Final = "http.response.status_code"  #: the answer's status code
CLIENT_ADDRESS: Final = "client.address"  #: `_other`: who asks is not told
USER_AGENT: Final = "user_agent.original"  #: `_other`: what a client calls itself is not told
SERVER_ADDRESS: Final = "server.address"  #: host that a client's request goes to
SERVER_PORT: Final = "server.port"  #: port that a client's request goes to
URL_FULL: Final = "url.full"  #: the address of a client's request
URL_TEMPLATE: Final = "url.template"  #: its path, which is one of a few fixed ones
MODEL_VERSION: Final = "leeway.model.version"  #: the bundle's version
MODEL_BASIS: Final = "leeway.model.basis"  #: `card` for the data held out in training, `live` for labelled predictions
TYPICALITY: Final = "leeway.input.typicality"  #: usual (no unusual feature), unusual (1 or 2) or strange (3 and more)
OUTCOME: Final = "leeway.prediction.outcome"  #: 0 or 1, the score against the decision threshold
PREDICTION_ID: Final = "leeway.prediction.id"  #: a UUIDv7, as in the answer
PREDICTION_SCORE: Final = "leeway.prediction.score"  #: the predicted probability
PREDICTION_RECORDED: Final = "leeway.prediction.recorded"  #: whether the prediction is in the spool
PREDICTION_SYNTHETIC: Final = "leeway.prediction.synthetic"  #: true for a mere check, which drift windows leave out
UNUSUAL_COUNT: Final = "leeway.prediction.unusual_features.count"  #: how many are unusual; in a batch, the most
UNUSUAL_NAMES: Final = "leeway.prediction.unusual_features.names"  #: which ones
BATCH_SIZE: Final = "leeway.batch.size"  #: items of the request, answered or not
SCORE_ROWS: Final = "leeway.score.rows"  #: rows that the model scored at once; absent for one
SNAPSHOT_ASKED: Final = "leeway.snapshot.asked"  #: how many a batch looked up, each customer once; absent for one
SNAPSHOT_FOUND: Final = "leeway.snapshot.found"  #: whether every customer asked for has a snapshot
FEATURE_NAME: Final = "leeway.feature.name"  #: a feature of the bundle's schema, or `_other`
BUCKET_BOUND: Final = "le"  #: upper bound of a bucket of the score histogram
DRIFT_METHOD: Final = "leeway.drift.method"  #: wasserstein or jensenshannon
DRIFT_QUESTION: Final = "leeway.drift.question"  #: quality, covariate, prediction or performance
DRIFT_RECOMMENDATION: Final = "leeway.drift.recommendation"  #: NO_ACTION, INVESTIGATE, RETRAIN or UNKNOWN
DRIFT_DECISION: Final = "leeway.drift.decision"  #: the plain rule on the share: RETRAIN or NO_ACTION
DRIFT_RUN_ID: Final = "leeway.drift.run.id"  #: a UUIDv7, as in the reports' addresses
DRIFT_WINDOW_ROLE: Final = "leeway.drift.window.role"  #: reference or current
DRIFT_WINDOW_START: Final = "leeway.drift.window.start"  #: beginning of the compared window, ISO 8601
DRIFT_WINDOW_END: Final = "leeway.drift.window.end"  #: its end, ISO 8601
DRIFT_DETECTED_FEATURES: Final = "leeway.drift.detected_features"  #: the features that drifted
DRIFT_REASON: Final = "leeway.drift.reason"  #: the recommendation's reason in one sentence
DRIFT_ROWS: Final = "leeway.drift.rows"  #: predictions in the window
DRIFT_SUBJECTS: Final = "leeway.drift.subjects"  #: subjects in the window, each compared once
DRIFT_REPORT_URL: Final = "leeway.drift.report.url"  #: where the run's report is
CPU_MODE: Final = "cpu.mode"  #: user or system
TRAFFIC_KIND: Final = "leeway.traffic.kind"  #: what kind of request the traffic sent
TRAFFIC_DRIFT: Final = "leeway.traffic.drift"  #: how strongly its input was drifted, 0 to 1
FAULT_NAME: Final = "leeway.fault.name"  #: slow_scoring, slow_snapshots, no_snapshots or errors
FLAG_KEY: Final = "feature_flag.key"  #: the fault that struck the request; of several, the last
FLAG_VARIANT: Final = "feature_flag.result.variant"  #: on
FLAG_VALUE: Final = "feature_flag.result.value"  #: how long the fault took, where it is a delay
FLAG_REASON: Final = "feature_flag.result.reason"  #: static where it strikes every call, split where by chance
FLAG_PROVIDER: Final = "feature_flag.provider.name"  #: leeway

OTHER: Final = "_other"
"""Stands for what clients invent, so that cardinality stays bounded."""


def prometheus_label(attribute: str) -> str:
    """The attribute's name as a label in Prometheus."""
    return attribute.replace(".", "_")


# --- spans ----------------------------------------------------------------------------------------------------------
SPAN_SERVER: Final = "{method} {route}"  #: one request; the instrumentation names it
SPAN_SNAPSHOT_LOOKUP: Final = "snapshot lookup"  #: finding the customers' features in the database
SPAN_SCORE: Final = "score"  #: checking the features against the reference, and the model's call
SPAN_DRIFT_RUN: Final = "drift run"  #: one comparison; links to the window's most unusual predictions
SPAN_LOAD_REFERENCE: Final = "load reference"  #: the bundle and its reference
SPAN_LOAD_WINDOW: Final = "load window"  #: the predictions of the window, and labels
SPAN_COMPARE: Final = "compare"  #: Evidently's distances
SPAN_JUDGE: Final = "judge"  #: verdicts, decision and recommendation
SPAN_PUBLISH: Final = "publish"  #: report files and the row in the database
SPAN_CLIENT: Final = "{method} {path}"  #: a request of `leeway traffic`: the paths are few and fixed
EVENT_FLAG_EVALUATED: Final = "feature_flag.evaluation"  #: a fault struck the request

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
PROCESS_CPU_TIME: Final = Metric(
    "process.cpu.time", "counter", "s", "Processor time that the process took.", (CPU_MODE,)
)
PROCESS_MEMORY: Final = Metric("process.memory.usage", "gauge", "By", "Physical memory that the process holds.")

# --- the service ----------------------------------------------------------------------------------------------------
HTTP_REQUEST_DURATION: Final = Metric(
    "http.server.request.duration", "histogram", "s", "Duration of HTTP server requests.",
    (HTTP_METHOD, HTTP_ROUTE, HTTP_STATUS), REQUEST_BUCKETS,
)  # fmt: skip
HTTP_ACTIVE_REQUESTS: Final = Metric(
    "http.server.active_requests", "gauge", "{request}", "HTTP requests in flight.", (HTTP_METHOD,)
)
PREDICTION_DURATION: Final = Metric(
    "leeway.prediction.duration", "histogram", "s",
    "Time to look up, score and record a single prediction, or until it failed; batches are not in it.",
    (MODEL_VERSION, TYPICALITY, ERROR_TYPE), REQUEST_BUCKETS,
)  # fmt: skip
PREDICTION_SCORES: Final = Metric(
    "leeway.prediction.score", "histogram", "1", "Predicted probabilities.", (MODEL_VERSION, OUTCOME), SCORE_BUCKETS
)
UNUSUAL_FEATURES: Final = Metric(
    "leeway.prediction.unusual_features", "histogram", "{feature}",
    "Features of one prediction outside the reference's 0.5-99.5 % range, or unseen.",
    (MODEL_VERSION,), UNUSUAL_BUCKETS,
)  # fmt: skip
INFERENCE_DURATION: Final = Metric(
    "leeway.inference.duration",
    "histogram",
    "s",
    "Time in the model for one call.",
    (MODEL_VERSION,),
    INFERENCE_BUCKETS,
)
LOOKUP_DURATION: Final = Metric(
    "leeway.snapshot.lookup.duration", "histogram", "s", "Time to find a customer's features.", (ERROR_TYPE,),
    INFERENCE_BUCKETS,
)  # fmt: skip
REQUEST_REJECTED: Final = Metric(
    "leeway.request.rejected", "counter", "{item}", "Refused items, by the feature that was at fault.",
    (FEATURE_NAME, ERROR_TYPE),
)  # fmt: skip
EVENT_LOOP_LAG: Final = Metric(
    "leeway.event_loop.lag", "histogram", "s", "How late the event loop ran what was due.", (), LAG_BUCKETS
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
    "leeway.prediction_log.backlog", "gauge", "{prediction}", "Predictions that wait in the spool."
)
SPOOL_SIZE: Final = Metric("leeway.prediction_log.spool.size", "gauge", "By", "Bytes in use in the spool file.")
SPOOL_LIMIT: Final = Metric("leeway.prediction_log.spool.limit", "gauge", "By", "Most bytes the spool may use.")
SCORE_REFERENCE: Final = Metric(
    "leeway.model.score.reference", "gauge", "{share}",
    "The reference's cumulative share of scores up to each bucket bound.", (MODEL_VERSION, BUCKET_BOUND),
)  # fmt: skip
FAULT_ACTIVE: Final = Metric(
    "leeway.fault.active", "gauge", "{fault}", "1 for each fault in force, else 0; only where faults are allowed.",
    (FAULT_NAME,),
)  # fmt: skip

# --- the drift worker -----------------------------------------------------------------------------------------------
DRIFT_SHARE: Final = Metric(
    "leeway.drift.share", "gauge", "{share}", "Drifted features ÷ features compared.", (MODEL_VERSION,)
)
DRIFT_THRESHOLD: Final = Metric("leeway.drift.threshold", "gauge", "{share}", "The share that asks for retraining.")
DRIFT_FEATURE_SCORE: Final = Metric(
    "leeway.drift.feature.score", "gauge", "{distance}", "A feature's distance from the reference.",
    (FEATURE_NAME, DRIFT_METHOD),
)  # fmt: skip
DRIFT_FEATURE_THRESHOLD: Final = Metric(
    "leeway.drift.feature.threshold", "gauge", "{distance}", "The distance that stands out from chance in this window.",
    (FEATURE_NAME, DRIFT_METHOD),
)  # fmt: skip
DRIFT_FEATURE_DETECTED: Final = Metric(
    "leeway.drift.feature.detected", "gauge", "{feature}", "1 where the feature drifted, else 0.", (FEATURE_NAME,)
)
DRIFT_VERDICT: Final = Metric(
    "leeway.drift.verdict", "gauge", "{state}", "0 ok, 1 watch, 2 act; absent when unknown.", (DRIFT_QUESTION,)
)
DRIFT_PREDICTION_SCORE: Final = Metric(
    "leeway.drift.prediction.score", "gauge", "{distance}", "The scores' distance from the reference.", (DRIFT_METHOD,)
)
DRIFT_TARGET_DIFFERENCE: Final = Metric(
    "leeway.drift.target.difference", "gauge", "{share}", "Absolute difference of the two label rates."
)
DRIFT_WINDOW_ROWS: Final = Metric(
    "leeway.drift.window.rows", "gauge", "{row}", "Rows of a compared window.", (DRIFT_WINDOW_ROLE,)
)
DRIFT_WINDOW_SUBJECTS: Final = Metric(
    "leeway.drift.window.subjects", "gauge", "{subject}", "Subjects of a compared window.", (DRIFT_WINDOW_ROLE,)
)
DRIFT_INTERVAL: Final = Metric("leeway.drift.interval", "gauge", "s", "Time from one comparison to the next.")
DRIFT_LAST_SUCCESS: Final = Metric(
    "leeway.drift.last_success.timestamp", "gauge", "s", "Unix time of the last run that could see."
)
DRIFT_LAST_CYCLE: Final = Metric(
    "leeway.drift.last_cycle.timestamp", "gauge", "s", "Unix time of the last finished cycle."
)
DRIFT_RECOMMENDATION_ACTIVE: Final = Metric(
    "leeway.drift.recommendation.active", "gauge", "{state}", "1 for the recommendation in force, 0 for the others.",
    (DRIFT_RECOMMENDATION,),
)  # fmt: skip
DRIFT_RUNS: Final = Metric(
    "leeway.drift.runs", "counter", "{run}", "Finished drift runs.", (DRIFT_RECOMMENDATION, ERROR_TYPE)
)
DRIFT_RUN_DURATION: Final = Metric(
    "leeway.drift.run.duration", "histogram", "s", "Duration of drift runs.", (), RUN_BUCKETS
)
MODEL_ROC_AUC: Final = Metric("leeway.model.roc_auc", "gauge", "{share}", "Area under the ROC curve.", (MODEL_BASIS,))
MODEL_BRIER: Final = Metric("leeway.model.brier", "gauge", "{share}", "Brier score.", (MODEL_BASIS,))
MODEL_LABELS: Final = Metric("leeway.model.labels", "gauge", "{label}", "Labels behind the two.", (MODEL_BASIS,))

ALL: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""Every metric, in the order above."""

OUR_HISTOGRAMS: Final = tuple(metric for metric in ALL if metric.kind == "histogram")
"""The histograms whose buckets a View sets."""
