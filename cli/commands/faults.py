"""`leeway faults`: inject faults into a service that allows it, and see which are active."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import HELP, examples, plain_errors, setting
from leeway.settings import ClientSettings

if TYPE_CHECKING:
    from cli.http import HttpResponse, ServiceAddress

FAULT_NAMES = {
    "slow_scoring": "slow scoring",
    "slow_snapshots": "slow snapshot store",
    "no_snapshots": "no snapshot store",
    "errors": "errors in scoring",
}
TIMEOUT_S = 15.0
"""A fault that delays the service delays this request too."""
ALLOW = "`LEEWAY_FAULTS=on leeway serve`, or `LEEWAY_FAULTS=on docker compose up -d service`"
Url = Annotated[str | None, setting(ClientSettings, "url")]
Probability = Annotated[float | None, typer.Option(metavar="SHARE", help="Share of the calls, 0 to 1; default: all")]

faults = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    short_help="Inject faults into a service that allows it.",
    help="Inject faults into a service that allows it (LEEWAY_FAULTS=on), to see how they show.\n\nAn active fault is"
    " shown by the gauge leeway_fault_active, on every dashboard, in the log, and on the span of each request that it"
    " affects. It ends by itself. Exit codes: 0 done, 2 bad input, service unreachable, or faults not allowed.",
)


class FaultsError(Exception):
    """The request failed; the message says why, and what to do."""


@faults.command(
    "on",
    short_help="Activate faults for a time.",
    epilog=examples(
        "leeway faults on --slow-scoring 80 --for 120",
        "leeway faults on --errors 0.05 --no-snapshots",
    ),
)
def switch_on(
    slow_scoring: Annotated[float | None, typer.Option(metavar="MS", help="Delay the model by so many ms")] = None,
    slow_scoring_probability: Probability = None,
    slow_snapshots: Annotated[
        float | None, typer.Option(metavar="MS", help="Delay customer lookups by so many ms")
    ] = None,
    slow_snapshots_probability: Probability = None,
    no_snapshots: Annotated[
        bool, typer.Option("--no-snapshots", help="Customer lookups fail (503); requests by features still work")
    ] = False,
    errors: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Share of the calls in which scoring fails (500), 0 to 1")
    ] = None,
    seconds: Annotated[float, typer.Option("--for", metavar="SECONDS", help="How long they last; 1 to 3600")] = 60,
    url: Url = None,
) -> None:
    """Activate faults for a time; they replace those that are active.

    A call is one call of the model or of the snapshot store; a batch is one call. While the model scores a request by
    features, slow scoring delays the whole service, as a slow model would.
    """
    wanted = {
        "slow_scoring": _delay("slow-scoring", slow_scoring, slow_scoring_probability),
        "slow_snapshots": _delay("slow-snapshots", slow_snapshots, slow_snapshots_probability),
        "no_snapshots": no_snapshots or None,
        "errors": None if errors is None else {"probability": errors},
    }
    if not any(wanted.values()):
        raise typer.BadParameter("name a fault: --slow-scoring, --slow-snapshots, --no-snapshots or --errors")
    _run(
        ClientSettings.read(url=url),
        "PUT",
        {name: fault for name, fault in wanted.items() if fault} | {"seconds": seconds},
    )


def _delay(flag: str, milliseconds: float | None, probability: float | None) -> dict[str, float] | None:
    if milliseconds is not None:
        return {"milliseconds": milliseconds} | ({} if probability is None else {"probability": probability})
    if probability is not None:
        raise typer.BadParameter(f"add --{flag}, the delay in ms", param_hint=f"--{flag}-probability")
    return None


@faults.command("status")
def status(url: Url = None) -> None:
    """Show which faults are active, and for how much longer."""
    _run(ClientSettings.read(url=url), "GET")


@faults.command("off")
def switch_off(url: Url = None) -> None:
    """End all faults now."""
    _run(ClientSettings.read(url=url), "DELETE")


def _run(settings: ClientSettings, method: str, body: Mapping[str, Any] | None = None) -> None:
    """Send one request, and print which faults are active then."""
    from cli.http import BadUrl, ServiceAddress

    with plain_errors(FaultsError, BadUrl):
        target = ServiceAddress.parse(settings.url, api_key=settings.api_key)
        print("\n".join(describe(request_faults(target, method, body), target.url)))


def request_faults(
    target: ServiceAddress, method: str, body: Mapping[str, Any] | None = None, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """The answer of `/faults`: `faults` by name, and `seconds_left`.

    Raises:
        FaultsError: there is no such answer.
    """
    from cli.http import EndpointError, TimedOut, ask

    try:
        answer = ask(target, "/faults", timeout_s, method=method, body=body)
    except TimedOut as error:
        raise FaultsError(f"the service {error}; try again: faults that delay it end by themselves") from error
    except EndpointError as error:
        hint = f"start it ({ALLOW}), or give another address with --url or LEEWAY_URL"
        raise FaultsError(f"the service {error}; {hint}") from error
    return _state(target.url, answer)


def _state(url: str, answer: HttpResponse) -> dict[str, Any]:
    from cli.http import NOT_FOUND, OK, REJECTED_KEY, UNPROCESSABLE, EndpointError

    try:
        document = answer.document()
    except EndpointError:
        document = {}
    if answer.status == OK and {"faults", "seconds_left"} <= document.keys():
        return document
    if not str(document.get("type")).startswith("urn:leeway:problem:"):
        hint = "give the address of a Leeway service with --url or LEEWAY_URL"
        raise FaultsError(f"{url} is not a Leeway service (status {answer.status}): {hint}")
    if answer.status in REJECTED_KEY and str(document["type"]).endswith(("-key", "-scope")):
        raise FaultsError(f"{url} rejects the API key: set LEEWAY_API_KEY to a key with the scope operate")
    if answer.status == NOT_FOUND:
        raise FaultsError(f"{url} does not allow faults: restart it with faults allowed ({ALLOW})")
    if answer.status == UNPROCESSABLE:
        raise FaultsError(str(document.get("detail")))
    raise FaultsError(f"{url} answered with status {answer.status}: {document.get('detail')}")


def describe(state: Mapping[str, Any], url: str) -> list[str]:
    """Lines that say which faults are active at `url`; `state` is the service's answer."""
    if not state["faults"]:
        return [f"No faults are active at {url}."]
    width = max(map(len, FAULT_NAMES.values()))
    lines = [f"Active at {url} for another {state['seconds_left']:.0f} s (`leeway faults off` ends them now):"]
    return lines + [
        f"  {FAULT_NAMES.get(name, name):{width}}  {_effect(fault)}" for name, fault in state["faults"].items()
    ]


def _effect(fault: Mapping[str, Any] | bool) -> str:
    if isinstance(fault, bool):
        return "in every call"
    often = "in every call" if fault["probability"] == 1 else f"in {100 * fault['probability']:.3g} % of the calls"
    return f"{fault['milliseconds']:g} ms delay, {often}" if "milliseconds" in fault else often
