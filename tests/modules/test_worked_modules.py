"""What holds for every module of the repository: its sample, its schema, and the two guides' own modules."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import keras
import pytest

from slipway.data.examples.ingest import IngestConfig, ingest_source
from slipway.data.examples.read import read_rows
from slipway.data.examples.source import locate
from slipway.data.schema import model_inputs, parse_schema
from slipway.data.statistics.compute import compute_statistics
from slipway.data.validation.report import Anomaly
from slipway.data.validation.validate import validate_examples
from slipway.module_api import Ingestion
from slipway.module_kit.check import check_module
from slipway.module_kit.loader import load_function
from slipway.stores.module_store import publish_module
from tests.slipway.data.examples.ingesting import Ingested

MODULES = Path(__file__).parents[2] / "modules"
NAMES = sorted(path.parent.name for path in MODULES.glob("*/module.yaml"))
REAL_DATA = os.environ.get("SLIPWAY_REAL_DATA")
real = pytest.mark.skipif(REAL_DATA is None, reason="SLIPWAY_REAL_DATA names no folder of real data")


def draw(name: str, folder: Path, rows: int = 400, seed: int = 1) -> Path:
    """The module's sample: a CSV file, or a folder of other files."""
    made = folder / f"sample-{seed}-{rows}"
    made.mkdir(parents=True)
    uri = publish_module(MODULES / name, str(folder / "published")).uri
    load_function(uri, "sample", "write_sample")(made / f"{name}.csv", rows=rows, seed=seed)
    return made / f"{name}.csv" if (made / f"{name}.csv").is_file() else made


def ingested(name: str, data: Path | str, folder: Path) -> Ingested:
    config = check_module(MODULES / name).model_dump(include={"task", "label", "split", "ingestion"})
    schema = parse_schema((MODULES / name / "schema.pbtxt").read_text())
    return Ingested(folder, ingest_source(locate(str(data), 1), IngestConfig.model_validate(config), schema, folder))


def anomalies(name: str, found: Ingested) -> list[Anomaly]:
    schema = parse_schema((MODULES / name / "schema.pbtxt").read_text())
    return validate_examples(found.path, compute_statistics(found.path), schema, "").anomalies


def test_three_modules_are_worked() -> None:
    assert NAMES == ["digits", "loan", "taxi"]


@pytest.mark.parametrize("name", NAMES)
def test_module_fits_the_contract_and_its_sample_the_schema(name: str, tmp_path: Path) -> None:
    found = ingested(name, draw(name, tmp_path), tmp_path / "examples")
    assert found.rows.read == found.rows.train + found.rows.eval == 400
    assert not anomalies(name, found)


@pytest.mark.parametrize("name", NAMES)
def test_sample_is_the_same_for_the_same_seed_and_says_that_it_is_synthetic(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def content(folder: str, seed: int) -> list[bytes]:
        made = draw(name, tmp_path / folder, 60, seed)
        return [path.read_bytes() for path in (sorted(made.iterdir()) if made.is_dir() else [made])]

    one, again, other = content("one", 1), content("again", 1), content("other", 2)
    assert one == again
    assert one != other
    assert "synthetic" in capsys.readouterr().out


def test_drawn_digits_are_images_of_every_digit(tmp_path: Path) -> None:
    rows = read_rows(str(draw("digits", tmp_path)), Ingestion(), 400)
    assert set(rows["label"].to_pylist()) == set(range(10))
    images = rows["image"].to_pylist()
    assert {len(image) for image in images} == {784}
    assert all(0 < sum(value > 0 for value in image) < 400 and max(image) > 200 for image in images)


def test_the_self_tuning_lenet_starts_crippled_and_every_corner_of_its_space_can_be_built(tmp_path: Path) -> None:
    module = tmp_path / "lenet"
    shutil.copytree(MODULES / "digits", module)
    (module / "self_tuning.yaml").rename(module / "module.yaml")
    untouched, config = check_module(MODULES / "digits"), check_module(module)
    assert (untouched.is_tuned, config.is_tuned) == (False, True)
    assert (len(config.hyperparameters["filters"]), config.training.epochs) == (1, 1)
    build = load_function(publish_module(module, str(tmp_path / "published")).uri, "model", "build_model")
    space = config.search_space
    for end in ("min", "max"):
        given = {name: getattr(one, end) for name, one in space.items() if not one.length}
        for length in space["filters"].length or ():
            filters = [getattr(space["filters"], end)] * length
            image = keras.Input((28, 28, 1), name="image")
            model = build({"image": image}, config.hyperparameters | given | {"filters": filters})
            assert sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers) == length


def test_loan_leaves_the_id_out_and_keeps_what_is_missing(tmp_path: Path) -> None:
    found = ingested("loan", draw("loan", tmp_path), tmp_path / "examples").table()
    inputs = [one.name for one in model_inputs(parse_schema((MODULES / "loan" / "schema.pbtxt").read_text()))]
    assert len(inputs) == 11
    assert "Loan_ID" not in (*inputs, *found.column_names)
    assert all(found[name].null_count for name in ("Credit_History", "LoanAmount", "Self_Employed"))


@real
@pytest.mark.parametrize(("name", "data", "rows"), [
    ("loan", "loan/loans.csv", 494),
    pytest.param("digits", "mnist/digits-images-idx3-ubyte.gz", 8_000, marks=pytest.mark.slow),
])  # fmt: skip
def test_real_rows_fit_the_schema(name: str, data: str, rows: int, tmp_path: Path) -> None:
    found = ingested(name, f"{REAL_DATA}/{data}", tmp_path / "examples")
    assert found.rows.read == found.rows.train + found.rows.eval == rows
    assert not anomalies(name, found)
