"""Saturated servers: clients send as soon as their previous answer has arrived, by features and by `user_id`."""

from __future__ import annotations

from benchmarks.bundle import load_population
from benchmarks.postgresql import NoPostgreSQL, a_postgresql
from benchmarks.serving.figures import Report, Table
from benchmarks.serving.run import A, B, C, D, Run

LEAST = {1: (1.1, 1.4), 8: (2.2, 3.0), 32: (4.0, 6.0)}
"""Connections, and the bound and the goal of the requests per second of (a) over (c)."""
COMPARED = {1: "abc", 8: "abcd", 32: "abc"}
"""Which servers take turns; the p99 of (b) shows whether what (a) adds comes from telemetry or from recording."""


def by_features(run: Run, report: Report) -> None:
    """Requests with features at 1, 8 and 32 connections."""
    with run.servers("abcd") as servers:
        for connections, (least, goal) in LEAST.items():
            chosen = {f"({name})": servers[f"({name})"] for name in COMPARED[connections]}
            table = run.compare(f"features, {connections} connection(s)", chosen, connections)
            report.add(table.text())
            ratio = table.rate_ratio(A, C)
            report.check(f"a ÷ c, requests/s, {connections} connection(s)", ratio, at_least=least, goal=goal)
            if connections > 1:
                name = f"processor time of telemetry ÷ c, API process, {connections} connections"
                report.check(name, telemetry_share(table), at_most=0.08, goal=0.05)
            if connections == 8:
                report.check("a ÷ d, requests/s, 8 connections", table.rate_ratio(A, D), at_least=6)
            if connections == 32:
                whole = table.all_us(A) / table.all_us(C)
                report.check("processor time of all processes ÷ c, 32 connections", whole, at_most=0.6, goal=0.4)
                run.bare_rates += [each.load.rate for each in table.rounds[C]]


def telemetry_share(table: Table) -> float:
    """The processor time that telemetry adds to a request, (a) - (b), as a multiple of that of (c)."""
    return (table.api_us(A) - table.api_us(B)) / table.api_us(C)


def by_customer(run: Run, report: Report) -> None:
    """Requests by `user_id` to (a) on each database, and with features to (c), which knows no customers."""
    _by_customer_on("SQLite", run, report, "")
    try:
        with a_postgresql(durable=True) as url:
            load_population(url)
            _by_customer_on("PostgreSQL", run, report, url)
    except NoPostgreSQL as error:
        report.add(f"by user_id on PostgreSQL: not measured, {error}")


def _by_customer_on(database: str, run: Run, report: Report, url: str) -> None:
    with run.servers("ac", url) as servers:
        table = run.compare(f"user_id, {database}, 32 connections", servers, 32, {A: run.customers})
    report.add(table.text())
    report.check(f"a by user_id on {database} ÷ c, requests/s, 32", table.rate_ratio(A, C), at_least=1.5, goal=2.5)
