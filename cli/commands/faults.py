"""`leeway faults`: switch faults on and off in a service that allows it, and see which are in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.options import HELP, examples, plain_errors, setting
from leeway.settings import ClientSettings

KINDS = {
    "slow_scoring": "slow scoring",
    "slow_snapshots": "slow snapshot store",
    "no_snapshots": "no snapshot store",
    "errors": "errors in scoring",
}
Url = Annotated[str | None, setting(ClientSettings, "url")]
Probability = Annotated[
    float | None, typer.Option(metavar="SHARE", help="In this share of the calls, 0 to 1; default: in all")
]

faults = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    short_help="Try faults out in a service that allows them.",
    help="Switch faults on and off in a service that allows it (LEEWAY_FAULTS=on), to see how they show.\n\nA fault in"
    " force is seen in the gauge leeway_fault_active, on every board, in the log, and on the span of each request that"
    " it strikes. It ends by itself. Exit codes: 0 done, 2 bad input, no such service, or one that allows no faults.",
)


@faults.command(
    "on",
    short_help="Put faults in force for a time.",
    epilog=examples(
        "leeway faults on --slow-scoring 80 --for 120",
        "leeway faults on --errors 0.05 --no-snapshots",
    ),
)
def switch_on(
    slow_scoring: Annotated[
        float | None, typer.Option(metavar="MS", help="The model takes so many milliseconds longer")
    ] = None,
    slow_scoring_probability: Probability = None,
    slow_snapshots: Annotated[
        float | None, typer.Option(metavar="MS", help="Looking customers up takes so many milliseconds longer")
    ] = None,
    slow_snapshots_probability: Probability = None,
    no_snapshots: Annotated[
        bool, typer.Option("--no-snapshots", help="Customers cannot be looked up: 503; requests by features go on")
    ] = False,
    errors: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Scoring fails in this share of the calls, 0 to 1: 500")
    ] = None,
    seconds: Annotated[float, typer.Option("--for", metavar="SECONDS", help="Then they end; 1 to 3600")] = 60,
    url: Url = None,
) -> None:
    """Put faults in force for a time, in place of those that are.

    A call is one of the model or of the snapshot store; a batch is one. While it scores a request by features, slow
    scoring holds up the whole service, as a slow model would.
    """
    wanted = {
        "slow_scoring": _delay("slow-scoring", slow_scoring, slow_scoring_probability),
        "slow_snapshots": _delay("slow-snapshots", slow_snapshots, slow_snapshots_probability),
        "no_snapshots": no_snapshots or None,
        "errors": None if errors is None else {"probability": errors},
    }
    if not any(wanted.values()):
        raise typer.BadParameter("name a fault: --slow-scoring, --slow-snapshots, --no-snapshots or --errors")
    _tell(url, "PUT", {name: fault for name, fault in wanted.items() if fault} | {"seconds": seconds})


def _delay(flag: str, milliseconds: float | None, probability: float | None) -> dict[str, float] | None:
    if milliseconds is not None:
        return {"milliseconds": milliseconds} | ({} if probability is None else {"probability": probability})
    if probability is not None:
        raise typer.BadParameter(f"add --{flag}: how slow", param_hint=f"--{flag}-probability")
    return None


@faults.command("status")
def status(url: Url = None) -> None:
    """Say which faults are in force, and for how long yet."""
    _tell(url, "GET")


@faults.command("off")
def switch_off(url: Url = None) -> None:
    """End all faults now."""
    _tell(url, "DELETE")


def _tell(url: str | None, method: str, body: Mapping[str, Any] | None = None) -> None:
    """Send one request, and print what is in force then."""
    from cli.commands.faults_request import FaultsError, ask
    from cli.http import BadUrl, Target

    with plain_errors(FaultsError, BadUrl):
        target = Target.parse(ClientSettings.read(url=url).url)
        print("\n".join(in_words(ask(target, method, body), target.url)))


def in_words(state: Mapping[str, Any], url: str) -> list[str]:
    """The lines that say what is in force at `url`; `state` is what the service answers."""
    if not state["faults"]:
        return [f"No faults are in force at {url}."]
    width = max(map(len, KINDS.values()))
    lines = [f"In force at {url} for {state['seconds_left']:.0f} s more (`leeway faults off` ends them now):"]
    return lines + [f"  {KINDS.get(name, name):{width}}  {_how(fault)}" for name, fault in state["faults"].items()]


def _how(fault: Mapping[str, Any] | bool) -> str:
    if isinstance(fault, bool):
        return "in every call"
    often = "in every call" if fault["probability"] == 1 else f"in {100 * fault['probability']:.3g} % of the calls"
    return f"{fault['milliseconds']:g} ms longer, {often}" if "milliseconds" in fault else often
