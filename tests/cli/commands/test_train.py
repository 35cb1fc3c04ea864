from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from cli.options import console
from cli.snapshots import open_snapshots
from cli.training import card_table, schema_table
from leeway.data.population import Population
from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle
from leeway.model.performance import Estimate
from leeway.schema import Feature, FeatureSchema, Seen
from tests.cli.extracts import real_extracts
from tests.leeway.model.bundles import some_rows

MONTHS = {"2024-01-31": "month_000", "2024-02-29": "month_001"}
CUSTOMER = "7590-VHVEG"


def leeway(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(each) for each in arguments])


def rejection(result: Result) -> str:
    """The one plain line for bad input."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("leeway: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 400 rows with an id, three features and a target of yes and no."""
    frame, labels = some_rows()
    path = tmp_path_factory.mktemp("table") / "loans.csv"
    frame.insert(0, "who", [f"customer {place}" for place in range(len(frame))])
    frame.assign(repaid=np.where(labels == 1, "yes", "no")).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def snapshots_url(people: Population, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a labelled month, and a newer one without labels."""
    url = f"sqlite:///{tmp_path_factory.mktemp('data') / 'leeway.db'}"
    snapshots = open_snapshots(url)
    snapshots.ingest(date(2026, 1, 31), people.user_ids, people.columns, people.labels)
    snapshots.ingest(date(2026, 2, 28), people.user_ids, people.columns, None)
    return url


@pytest.fixture(scope="module")
def from_table(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """The result of `leeway train` on the table, and the bundle's folder."""
    folder = tmp_path_factory.mktemp("from table") / "bundle"
    return leeway("train", "--data", table, "--target", "repaid", "--id", "who", "--bundle", folder), folder


@pytest.fixture(scope="module")
def from_snapshots(snapshots_url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """The result of `leeway train` on the newest labelled month, and the bundle's folder."""
    folder = tmp_path_factory.mktemp("from snapshots") / "bundle"
    return leeway("train", "--database-url", snapshots_url, "--bundle", folder), folder


def test_trains_on_a_table(from_table: tuple[Result, Path]) -> None:
    """Any CSV works: the id and the target are not features, and the model has the file's name."""
    result, folder = from_table
    assert (result.exit_code, result.stderr) == (0, "")
    bundle = bundles.load(folder)
    assert (bundle.name, bundle.schema.names) == ("loans", ("age", "monthly fee", "c.x-y"))
    assert bundle.card.trained_on.source == "loans.csv"


UNTIDY = (
    "--id",
    "who",
    "--id",
    "row",
    "--drop",
    "joined",
    "--missing",
    "?",
    "--decimal",
    ",",
    "--positive",
    "left",
    "--group-rare",
    "10",
)


@pytest.fixture(scope="module")
def untidy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """The result of `leeway train` on a file as people have them, and the bundle's folder."""
    frame, labels = some_rows(600)
    city = [f"city {place % 20 if place % 2 else place % 300}" for place in range(600)]
    fee = frame["monthly fee"].astype(str).str.replace(".", ",").where(frame.index % 50 != 0, "?")
    made = pd.DataFrame({"who": [f"c{each}" for each in frame.index], "row": frame.index + 1, "joined": "12-Jan-2020"})
    made = made.assign(fee=fee, age=frame["age"].where(frame.index % 7 != 0).astype("Int64"), city=city)
    made = made.assign(state=np.where(labels == 1, "left", "stayed"))
    folder = tmp_path_factory.mktemp("untidy")
    made.to_csv(folder / "customers.csv", index=False, sep=";", na_rep="NA")
    made.to_parquet(folder / "customers.parquet")
    options = [*UNTIDY, "--bundle", folder / "bundle"]
    return leeway("train", "--data", folder / "customers.csv", "--target", "state", *options), folder / "bundle"


def test_trains_on_an_untidy_table(untidy: tuple[Result, Path]) -> None:
    """Nothing in the file has to be edited; how it was read is printed, and the missing cells of each column."""
    result, folder = untidy
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert bundles.load(folder).schema.names == ("fee", "age", "city")
    lines = result.stdout.splitlines()
    assert lines[0] == "Target state, one of the classes left, stayed (binary); the positive one is left."
    assert lines[1] == "Rows by class: left: 300, stayed: 300."
    assert "Note: the separator is ';'." in lines
    assert "Note: column age: 86 cells are read as missing: 'NA' (86)." in lines
    assert any("fee" in line and "number" in line and "12 of 600" in line for line in lines)
    assert any("city" in line and "more" in line and "0" in line for line in lines)


def test_parquet_gives_the_same_answers(untidy: tuple[Result, Path], tmp_path: Path) -> None:
    """The same table as Parquet gives the same schema and the same scores; the model has the given name."""
    file, folder = untidy[1].with_name("customers.parquet"), tmp_path / "bundle"
    result = leeway("train", "--data", file, "--target", "state", *UNTIDY, "--name", "lending", "--bundle", folder)
    assert (result.exit_code, result.stderr) == (0, "")
    found, expected = bundles.load(folder), bundles.load(untidy[1])
    assert (found.name, found.schema, found.version) == ("lending", expected.schema, expected.version)
    pd.testing.assert_frame_equal(found.reference(), expected.reference())


def test_rare_categories_are_one_group(untidy: tuple[Result, Path]) -> None:
    """A rare category is known, and scored like any other rare one."""
    bundle = bundles.load(untidy[1])
    rare, other, never = (bundle.card.example | {"city": city} for city in ("city 250", "city 252", "nowhere"))
    first, second, third = bundle.score([rare, other, never])
    assert first == second == third
    rows = [bundle.schema.row(each) for each in (rare, never)]
    assert bundle.encoder.unusual(bundle.encoder.encode(rows)) == [(), ("city",)]


def test_warns_of_a_column_that_counts_the_rows(tmp_path: Path) -> None:
    """In a file sorted by its target a row number predicts it: the warning names the column and the option."""
    frame, labels = some_rows()
    made = frame.assign(y=labels).sort_values("y").assign(k=range(len(frame)))
    made.to_csv(tmp_path / "sorted.csv", index=False)
    result = leeway("train", "--data", tmp_path / "sorted.csv", "--target", "y", "--bundle", tmp_path / "bundle")
    warnings = result.stderr.splitlines()
    assert result.exit_code == 0
    assert warnings[0].startswith("leeway: warning: column k: its values count the rows from 0, like a row number")
    assert "column k alone predicts the target with a ROC AUC of 1.000" in warnings[1]


def test_trains_on_the_newest_labelled_month(from_snapshots: tuple[Result, Path]) -> None:
    """Without a date the newest month with labels is used, not a newer one without labels."""
    result, folder = from_snapshots
    assert (result.exit_code, result.stderr) == (0, "")
    bundle = bundles.load(folder)
    assert (bundle.name, bundle.card.trained_on.as_of) == ("churn", "2026-01-31")
    assert bundle.version.startswith("2026-01-31-")


@pytest.mark.parametrize(
    "words",
    [
        ["feature", "kind", "unit", "range or categories", "may be missing", "missing"],
        ["monthly_fee", "number", "{currency}", "…", "no", "0"],
        ["plan_stream_tv", "flag", "true, false", "yes", "of 2,000"],
        ["net_service", "category", "DSL, Fiber optic, No", "no"],
    ],
)
def test_prints_the_schema(from_snapshots: tuple[Result, Path], words: list[str]) -> None:
    """The schema is a table: name, kind, unit, range or categories, whether values may be missing, and how many are."""
    lines = [line for line in from_snapshots[0].stdout.splitlines() if words[0] in line]
    assert any(all(word in line for word in words) for line in lines)


def test_prints_an_inferred_schema(from_table: tuple[Result, Path]) -> None:
    """An inferred schema is printed too."""
    (line,) = [line for line in from_table[0].stdout.splitlines() if "c.x-y" in line]
    assert "high, low, middle" in line


def test_prints_the_card_and_the_bundles_folder(from_snapshots: tuple[Result, Path]) -> None:
    """The card's figures are printed with their intervals, and the bundle's folder."""
    result, folder = from_snapshots
    card = bundles.load(folder).card
    area = card.figures["roc_auc"]
    assert f"{area.value:.3f} (95 %: {area.low:.3f} to" in result.stdout
    assert "1,400 rows of feature snapshots as of 2026-01-31" in result.stdout
    assert "ONNX Runtime" in result.stdout
    assert f"Bundle: {folder}" in result.stdout


def test_tables_do_not_wrap_in_a_pipe(from_snapshots: tuple[Result, Path]) -> None:
    """In a pipe each table row is one line, however long."""
    lines = from_snapshots[0].stdout.splitlines()
    assert max(map(len, lines)) > 80
    assert sum("held out" in line and "drift reference come from them" in line for line in lines) == 1


def test_a_model_that_is_no_better_than_a_constant_answer_is_said(
    capsys: pytest.CaptureFixture[str], bundle: Bundle
) -> None:
    """A constant answer's figures stand beside the model's, and a warning names those by which it is no better."""
    console().print(card_table(bundle))
    usual = capsys.readouterr().out
    assert "; a constant answer has 0.500" in usual
    assert "warning" not in usual
    poor = msgspec.structs.replace(bundle.card, figures=bundle.card.figures | {"roc_auc": Estimate(0.52, 0.48, 0.56)})
    console().print(card_table(replace(bundle, card=poor)))
    assert "no better than the same answer for every row, by ROC AUC" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["[red]", "[/]", "[link=x]y[/link]"])
def test_square_brackets_are_not_markup(text: str, capsys: pytest.CaptureFixture[str], bundle: Bundle) -> None:
    """Names and categories with square brackets are printed unchanged."""
    schema = FeatureSchema((Feature("a", "category", seen=Seen(categories=(text,))),))
    frame = pd.DataFrame({"a": [text]})
    console().print(schema_table(schema, frame), card_table(replace(bundle, name=text)))
    assert capsys.readouterr().out.count(text) == 2


def test_missing_snapshots_are_an_error(tmp_path: Path) -> None:
    """Without snapshots the message says how to get some."""
    result = leeway("train", "--database-url", f"sqlite:///{tmp_path / 'leeway.db'}", "--bundle", tmp_path / "bundle")
    assert "load an extract with `leeway ingest`" in rejection(result)


def test_an_unknown_date_lists_the_loaded_ones(snapshots_url: str, tmp_path: Path) -> None:
    """A month that was not loaded is rejected with the loaded ones."""
    result = leeway("train", "--as-of", "2020-01-31", "--database-url", snapshots_url, "--bundle", tmp_path / "bundle")
    assert "loaded: 2026-01-31, 2026-02-28" in rejection(result)


def test_a_month_without_labels_is_an_error(snapshots_url: str, tmp_path: Path) -> None:
    """A month without labels is rejected, and the message says what is missing."""
    result = leeway("train", "--as-of", "2026-02-28", "--database-url", snapshots_url, "--bundle", tmp_path / "bundle")
    assert "no labels as of 2026-02-28" in rejection(result)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--data", "TABLE"], "--data needs --target"),
        (["--target", "repaid", "--decimal", ","], "--target, --decimal: only with --data FILE"),
        (["--id", "who"], "--id: only with --data FILE"),
        (["--data", "TABLE", "--target", "repaid", "--separator", "::"], "--separator '::' is not one character"),
        (["--data", "TABLE", "--target", "repaid", "--thousands", "0"], "--thousands '0' is not one sign"),
        (["--data", "TABLE", "--target", "repaid", "--thousands", "."], "cannot be the same sign"),
        (["--data", "TABLE", "--target", "repaid", "--text", "nothing"], "missing column 'nothing'"),
        (["--data", "TABLE", "--target", "repaid", "--as-of", "2026-01-31"], "--as-of selects a month of snapshots"),
        (["--data", "TABLE", "--target", "nothing"], "missing column 'nothing'; the file has who, age"),
        (["--data", "TABLE", "--target", "repaid"], "column who: is text with more than 100 different values"),
        (["--data", "nowhere.csv", "--target", "repaid"], "nowhere.csv: cannot be read"),
    ],
)
def test_invalid_options_are_errors(options: list[str], reason: str, table: Path, tmp_path: Path) -> None:
    """Incompatible options and unusable tables end with exit code 2 and the reason."""
    given = [str(table) if option == "TABLE" else option for option in options]
    assert reason in rejection(leeway("train", *given, "--bundle", tmp_path / "bundle"))
    assert list(tmp_path.iterdir()) == []


def test_too_few_rows_are_an_error(tmp_path: Path) -> None:
    """A table with too few rows ends with exit code 2 and the minimum."""
    (tmp_path / "x.csv").write_text("a,y\n1,0\n2,1\n")
    result = leeway("train", "--data", tmp_path / "x.csv", "--target", "y", "--bundle", tmp_path / "bundle")
    assert "2 labelled rows are too few" in rejection(result)


def test_a_folder_with_other_files_is_rejected(table: Path, tmp_path: Path) -> None:
    """A bundle folder with other files is rejected, and they stay."""
    (tmp_path / "thesis.txt").write_text("dear")
    options = ["--data", table, "--target", "repaid", "--id", "who", "--bundle", tmp_path]
    assert "thesis.txt" in rejection(leeway("train", *options))
    assert (tmp_path / "thesis.txt").read_text() == "dear"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Bundle]:
    """Both real extracts ingested, and a model trained on the first."""
    extracts = real_extracts()
    folder = tmp_path_factory.mktemp("real")
    url = f"sqlite:///{folder / 'leeway.db'}"
    for as_of, month in MONTHS.items():
        result = leeway("ingest", "--as-of", as_of, extracts / month, "--database-url", url)
        assert (result.exit_code, "Loaded 7,043 customers" in result.stdout) == (0, True), result.output
    result = leeway("train", "--as-of", "2024-01-31", "--database-url", url, "--bundle", folder / "bundle")
    assert result.exit_code == 0, result.output
    return url, bundles.load(folder / "bundle")


def test_real_extracts_give_a_good_model(real: tuple[str, Bundle]) -> None:
    """On the first real month the model is good and well calibrated, and ONNX scores it."""
    card = real[1].card
    assert 0.78 < card.figures["roc_auc"].low < card.figures["roc_auc"].high < 0.88
    assert card.figures["brier"].value < 0.16
    assert (card.scorer, card.trained_on.rows, card.held_out.rows) == ("onnx", 4_930, 2_113)


def test_real_customer_is_scored(real: tuple[str, Bundle]) -> None:
    """A real customer is looked up as of the newest month, and scored with hardly an unusual feature."""
    url, bundle = real
    snapshot = open_snapshots(url).lookup(CUSTOMER)
    assert snapshot is not None
    assert snapshot.as_of == date(2024, 2, 29)
    assert 0 < bundle.scorer.score(bundle.encoder.encode([snapshot.features]))[0] < 1
    assert len(bundle.encoder.unusual(bundle.encoder.encode([snapshot.features]))[0]) <= 2


def test_a_real_constant_is_known(real: tuple[str, Bundle]) -> None:
    """In the first real month one feature is constant: its own value is usual, any other is not."""
    bundle = real[1]
    seen = bundle.schema["avg_session_mins_7d"].seen
    rows = [bundle.schema.row(bundle.card.example | {"avg_session_mins_7d": value}) for value in (seen.low, 30.0)]
    assert seen.low == seen.high == seen.minimum == seen.maximum
    assert bundle.encoder.unusual(bundle.encoder.encode(rows)) == [(), ("avg_session_mins_7d",)]
