"""`leeway traffic`: its flags. What it runs is imported only when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import examples, setting
from leeway.settings import ClientSettings

TRAFFIC_EXAMPLES = examples(
    "leeway traffic --rate 50 --duration 120",
    "leeway traffic --duration 0 --drift 0.8    # until Ctrl-C",
    "leeway traffic --labels --concept-drift 1  # the model grows wrong",
)


def traffic(
    url: Annotated[str | None, setting(ClientSettings, "url")] = None,
    rate: Annotated[
        float, typer.Option(metavar="N", min=0.01, max=10_000, help="Requests a second, on average")
    ] = 20.0,
    duration: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Seconds; 0 goes on until Ctrl-C or SIGTERM")
    ] = 60.0,
    mix: Annotated[
        str, typer.Option(metavar="A/B/C", help="Weights: by user_id, by features, batches of up to 20")
    ] = "60/30/10",
    drift: Annotated[
        float,
        typer.Option(
            metavar="0…1", min=0, max=1, help="A worse network: less watched, more rebuffering, skips, tickets"
        ),
    ] = 0.0,
    concept_drift: Annotated[
        float,
        typer.Option(
            metavar="0…1", min=0, max=1, help="With --labels: what makes customers leave changes; 1 leaves a coin"
        ),
    ] = 0.0,
    drift_after: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0, help="Seconds before both begin; default: a third of --duration, else 60"
        ),
    ] = None,
    drift_ramp: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Seconds in which they rise; 0 is a step")
    ] = 0.0,
    drift_for: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Seconds after which they end; default: never")
    ] = None,
    bad_input: Annotated[
        float, typer.Option(metavar="0…1", min=0, max=1, help="Share of requests that must be refused")
    ] = 0.0,
    labels: Annotated[bool, typer.Option("--labels", help="Tell by POST /feedback what turned out to be true")] = False,
    label_delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Seconds from an answer to its label")
    ] = 10.0,
    users: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of customers' ids, one a line, instead of ours")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed sends the same requests")] = 7,
    max_errors: Annotated[int, typer.Option(metavar="N", min=0, help="More errors than this end in exit code 1")] = 0,
    max_in_flight: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Most requests at once; any more are errors, not sent")
    ] = 256,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.01, help="Seconds to wait for an answer")] = 10.0,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Seconds to wait for the service before the start")
    ] = 10.0,
) -> None:
    """Send realistic requests at a rate, late answers or not; latency counts from when a request was due.

    Drifted requests go by features, since snapshots of customers do not drift. Where OTEL_EXPORTER_OTLP_ENDPOINT is
    set, each request is the root of its trace. Exit codes: 0 done, 1 more than --max-errors failed, 2 no such service.
    """
    from cli.traffic.prepare import Wanted, weights
    from cli.traffic.run import run_traffic

    if concept_drift and not labels:
        raise typer.BadParameter("it shows in labels alone: add --labels", param_hint="--concept-drift")
    wanted = Wanted(
        rate=rate,
        duration_s=duration,
        mix=weights(mix),
        drift=drift,
        concept_drift=concept_drift,
        drift_after_s=drift_after,
        drift_ramp_s=drift_ramp,
        drift_for_s=drift_for,
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
    raise typer.Exit(run_traffic(ClientSettings.read(url=url), wanted))
