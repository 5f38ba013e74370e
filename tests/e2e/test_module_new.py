"""A module out of the scaffold trains and is pushed as it is, whatever the columns are called."""

import csv
import json
import random
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.e2e.workspace import Workspace

HEADER = ["row id", "größe (cm)", "import", "9/colour", "always", "bought?"]


def write_people(path: Path, rows: int = 600, seed: int = 7, follows: bool = True) -> None:
    """A label that follows two of the columns, or is a coin's; some values are missing."""
    chance = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(rows):
            size, weight = chance.gauss(170, 10), chance.gauss(70, 9)
            colour = chance.choice(["red", "blue", ""])
            bought = (
                size / 10 + (3 if colour == "red" else 0) + chance.gauss(0, 0.5) > 18
                if follows
                else chance.random() < 0.5
            )
            weight_text = "" if number % 7 == 0 else f"{weight:.1f}"
            writer.writerow([number, f"{size:.1f}", weight_text, colour, "x", "yes" if bought else "no"])


@pytest.mark.slow
def test_module_new_trains_at_once_and_is_pushed(workspace: Workspace) -> None:
    data = workspace.modules.parent / "people.csv"
    write_people(data)
    made = json.loads(workspace.slipway("module", "new", "people", "--data", str(data), "--json").stdout)
    assert "data: people.csv\n" in (workspace.modules / "people" / "module.yaml").read_text()
    assert (made["label"], made["task"]) == ("bought?", "binary")
    assert set(made["left_out"]) == {"row id", "always"}
    workspace.slipway("module", "check", "people")
    workspace.slipway("run", "--module", "people")
    run = workspace.last_run()
    assert run["verdict"] == "pushed", run["reasons"]
    assert run["metrics"]["auc"] > 0.9
    version = str(run["pushed_version"])
    assert f"pushed as version {version}" in workspace.slipway("explain", version).stdout
    assert Path(workspace.slipway("report").stdout.strip()).read_text(encoding="utf-8").count("<h2>") > 8


@pytest.mark.slow
def test_module_new_of_labels_that_follow_nothing_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    write_people(tmp_path / "people.csv", seed=106, follows=False)
    workspace.slipway("module", "new", "people", "--data", str(tmp_path / "people.csv"))
    workspace.slipway("run", "--module", "people")
    run = workspace.last_run()
    assert run["verdict"] == "refused"
    assert "a constant model's 0.5" in "".join(run["reasons"])
    assert "a constant model's 0.5" in workspace.slipway("explain").stdout.replace("\n    ", " ")


def write_customers(path: Path, rows: int = 900) -> None:
    """Churn that follows date, text, weight and country, and a column that is filled once a customer has left."""
    chance = random.Random(11)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["CustomerId", "Surname", "joined", "weight", "note", "country", "left_on", "churned"])
        for _ in range(rows):
            joined = date(2015, 1, 1) + timedelta(days=chance.randrange(2_000))
            words = chance.choices(["late", "broken", "fine", "friendly", "quick", "rude", "blue", "box"], k=7)
            weight, country = chance.randint(1, 40), chance.choice(["CH", "DE", "FR"])
            score = words.count("broken") + words.count("rude") - words.count("fine") + (joined.year - 2017) / 2
            churned = score + weight / 20 + (country == "DE") + chance.gauss(0, 0.7) > 1.5
            left = f"2021-03-{chance.randint(1, 28):02d}" if churned else ""
            writer.writerow([chance.randint(10**7, 10**8), f"Name{chance.randint(1, 400)}", f"{joined:%d/%m/%Y}",
                             f"{weight} kg", " ".join(words), country, left, int(churned)])  # fmt: skip


def served_inputs(version: str) -> set[str]:
    """The features that the served model asks for."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((Path(version) / "saved_model.pb").read_bytes())
    return set(model.meta_graphs[0].signature_def["raw"].inputs)


def new_churn(workspace: Workspace, folder: Path) -> Path:
    """The module.yaml of a module of these customers."""
    write_customers(folder / "customers.csv")
    made = workspace.slipway("module", "new", "churn", "--data", str(folder / "customers.csv")).stdout
    assert "training_only: [left_on]" in made
    return workspace.modules / "churn" / "module.yaml"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_module_new_names_a_leak_wherever_one_looks(workspace: Workspace, tmp_path: Path) -> None:
    new_churn(workspace, tmp_path)
    printed = workspace.slipway("run", "churn", "--set", "training.epochs=8").stdout
    named = "left_on alone predicts churned nearly perfectly"
    report = Path(workspace.slipway("report").stdout.strip()).read_text(encoding="utf-8")
    explained = workspace.slipway("explain").stdout
    assert all(named in " ".join(text.split()) for text in (printed, report, explained))
    assert all("is nearly perfect: " in " ".join(text.split()) for text in (printed, report, explained))
    assert workspace.last_run()["verdict"] == "pushed"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_module_new_tells_columns_apart_and_a_line_changes_its_mind(workspace: Workspace, tmp_path: Path) -> None:
    module = new_churn(workspace, tmp_path)
    lines = module.read_text(encoding="utf-8").replace("# training_only:", "training_only:").splitlines(True)
    module.write_text("".join(line for line in lines if "- Surname" not in line), encoding="utf-8")
    workspace.slipway("run", "churn")
    run = workspace.last_run()
    assert 0.8 < run["metrics"]["auc"] < 0.99
    assert served_inputs(run["pushed_path"]) == {"Surname", "joined", "weight", "note", "country"}


def test_module_new_on_a_taken_name_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in workspace.modules.rglob("*") if path.is_file()}
    write_people(tmp_path / "people.csv", rows=10)
    done = workspace.slipway("module", "new", "taxi", "--data", str(tmp_path / "people.csv"), code=1)
    assert "exists already" in done.stderr
    assert {path: path.read_bytes() for path in workspace.modules.rglob("*") if path.is_file()} == before


def test_module_new_without_its_data_names_the_file(workspace: Workspace, tmp_path: Path) -> None:
    done = workspace.slipway("module", "new", "people", "--data", str(tmp_path / "nowhere.csv"), code=1)
    assert "nowhere.csv" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace.modules / "people").exists()


@pytest.mark.slow
def test_schema_infer_prints_a_schema_that_can_be_curated(workspace: Workspace, tmp_path: Path) -> None:
    from slipway.data.schema import parse_schema

    write_people(tmp_path / "people.csv", rows=100)
    arguments = ("schema", "infer", "--data", str(tmp_path / "people.csv"))
    schema = parse_schema(workspace.slipway(*arguments, "--label", "bought?").stdout)
    assert [feature.name for feature in schema.feature] == HEADER
    assert [list(feature.not_in_environment) for feature in schema.feature][-1] == ["SERVING"]
    done = workspace.slipway(*arguments, "--label", "bougt?", code=1)
    assert "bougt?" in done.stderr
