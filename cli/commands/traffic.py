"""`leeway traffic`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import ignore_invalid_telemetry, setting
from leeway.settings import ClientSettings

ENDLESS_DRIFT_AFTER_S = 60.0
EXAMPLES = (
    "leeway traffic --rate 50 --duration 120",
    "leeway traffic --duration 0 --drift 0.8    # until Ctrl-C",
    "leeway traffic --labels --concept-drift 1  # the model becomes useless",
)


def traffic(
    url: Annotated[str | None, setting(ClientSettings, "url")] = None,
    rate: Annotated[
        float, typer.Option(metavar="N", min=0.01, max=10_000, help="Requests a second, on average")
    ] = 20.0,
    duration: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Length of the run; 0: until Ctrl-C or SIGTERM")
    ] = 60.0,
    mix: Annotated[
        str, typer.Option(metavar="A/B/C", help="Weights: by user_id, by features, batches of up to 20")
    ] = "60/30/10",
    drift: Annotated[
        float,
        typer.Option(
            metavar="0…1", min=0, max=1, help="Covariate drift, a worse network: more stalls, skips and tickets"
        ),
    ] = 0.0,
    concept_drift: Annotated[
        float,
        typer.Option(
            metavar="0…1",
            min=0,
            max=1,
            help="With --labels: the reasons to leave change; at 1 the model is no better than chance",
        ),
    ] = 0.0,
    drift_after: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="When both drifts begin; default: a third of --duration, else 60"),
    ] = None,
    drift_ramp: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long both take to rise; 0 is a step")
    ] = 0.0,
    drift_for: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="How long both last; default: to the end")
    ] = None,
    bad_input: Annotated[
        float, typer.Option(metavar="0…1", min=0, max=1, help="Share of requests that the service must reject")
    ] = 0.0,
    labels: Annotated[bool, typer.Option("--labels", help="Post the true labels to /feedback")] = False,
    label_delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Seconds from an answer to its label")
    ] = 10.0,
    users: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Customer ids, one per line, instead of the built-in ones")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed sends the same requests")] = 7,
    max_errors: Annotated[int, typer.Option(metavar="N", min=0, help="Exit with 1 if more requests fail")] = 0,
    max_in_flight: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=10_000, help="Maximum requests in flight; further ones count as errors"),
    ] = 256,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.01, help="How long an answer may take")] = 10.0,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for the service at the start")
    ] = 10.0,
) -> None:
    """Send realistic requests at a fixed rate, however slow the answers are.

    Latency is measured from each request's scheduled time. Drifted requests send features, because stored snapshots do
    not drift. With OTEL_EXPORTER_OTLP_ENDPOINT, each request is the root of its trace. Exit codes: 0 done, 1 more than
    --max-errors requests failed, 2 service unreachable or bad input.
    """
    ignore_invalid_telemetry()
    from cli.traffic.plan import Profile
    from cli.traffic.prepare import TrafficOptions, parse_mix
    from cli.traffic.run import run_traffic

    if concept_drift and not labels:
        raise typer.BadParameter("only labels show it: add --labels", param_hint="--concept-drift")
    usual_after_s = duration / 3 if duration else ENDLESS_DRIFT_AFTER_S
    options = TrafficOptions(
        rate=rate,
        duration_s=duration or None,
        mix=parse_mix(mix),
        drift=drift,
        concept_drift=concept_drift,
        profile=Profile(usual_after_s if drift_after is None else drift_after, drift_ramp, drift_for),
        bad_share=bad_input,
        labels=labels,
        label_delay_s=label_delay,
        users=users,
        seed=seed,
        max_errors=max_errors,
        max_in_flight=max_in_flight,
        timeout_s=timeout,
        wait_s=wait,
    )
    run_traffic(ClientSettings.read(url=url), options)
