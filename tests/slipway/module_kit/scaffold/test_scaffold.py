from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipway.data.schema import fewest_rows, infer_schema, read_curated_schema
from slipway.data.statistics.compute import compute_statistics
from slipway.data.validation.leaks import Leak
from slipway.data.validation.validate import validate_examples
from slipway.errors import ConfigError, DataError
from slipway.module_api import Ingestion, Label
from slipway.module_kit.check import check_module
from slipway.module_kit.loader import load_function
from slipway.module_kit.scaffold.plan import Plan, choose_label, plan_module, read_labels, size_of
from slipway.module_kit.scaffold.write import write_module
from slipway.stores.module_store import publish_module
from tests.example_artifacts import write_examples

ROWS = 300
COLUMNS: dict[str, list[Any]] = {
    "id": list(range(1000, 1000 + ROWS)),
    "name": [f"Person {index}" for index in range(ROWS)],
    "nothing": [None] * ROWS,
    "country": ["CH"] * ROWS,
    "age": [20 + index % 50 for index in range(ROWS)],
    "height": [1.5 + (index % 40) / 100 if index % 10 else None for index in range(ROWS)],
    "city": [("Bern", "Basel", "Genf", None)[index % 4] for index in range(ROWS)],
    "scores": [[1.0, 2.0]] * ROWS,
}


def planned(folder: Path, label: list[Any], wanted: str | None = None, leaks: Sequence[Leak] = ()) -> Plan:
    """The plan for COLUMNS and a last column of these labels, through real statistics."""
    import pyarrow as pa

    rows = pa.table({**COLUMNS, "bought": label}).cast(
        pa.schema(
            [
                ("id", pa.int64()), ("name", pa.string()), ("nothing", pa.string()), ("country", pa.string()),
                ("age", pa.int64()), ("height", pa.float64()), ("city", pa.string()),
                ("scores", pa.list_(pa.float64())), ("bought", pa.array(label).type),
            ]
        )
    )  # fmt: skip
    train, evaluation = (dict(zip(rows.column_names, part.columns, strict=True)) for part in (rows[:200], rows[200:]))
    write_examples(folder, train, evaluation)
    statistics = compute_statistics(folder)
    chosen = choose_label(statistics, wanted)
    labels = read_labels(str(folder), chosen)
    return plan_module("people", "/data/people.csv", chosen, labels, statistics, Ingestion(), leaks)


def test_plan_keeps_what_helps_and_says_why_it_leaves_out_the_rest(tmp_path: Path) -> None:
    plan = planned(tmp_path, [index % 2 for index in range(ROWS)])
    assert plan.label == "bought"
    assert plan.numbers == ("age", "height")
    assert plan.categories == ("city",)
    assert plan.slices == ("city",)
    why = dict(plan.left_out)
    assert set(why) == {"id", "name", "nothing", "country", "scores"}
    assert "id" in why["id"]
    assert "names" in why["name"]
    assert "always missing" in why["nothing"]
    assert "one value" in why["country"]
    assert "lists" in why["scores"]


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([0, 1], "binary", ()),
        ([0.0, 1.0], "binary", ()),
        ([1, 2], "binary", ("1", "2")),
        (["no", "yes", "no"], "binary", ("no", "yes")),
        (["yes", "no", "yes"], "binary", ("no", "yes")),
        (["stay", "stay", "leave"], "binary", ("stay", "leave")),
        (["a", "b", "c"], "multiclass", ("a", "b", "c")),
        ([3, 1, 2], "multiclass", ("1", "2", "3")),
        ([0.5, 1.5, 2.5], "regression", ()),
        (list(range(30)), "regression", ()),
    ],
)
def test_plan_task_follows_the_labels(tmp_path: Path, values: list[Any], task: str, classes: tuple[str, ...]) -> None:
    plan = planned(tmp_path, [values[index % len(values)] for index in range(ROWS)])
    assert (plan.task, plan.classes) == (task, classes)


def test_plan_label_that_is_not_a_number_is_missing(tmp_path: Path) -> None:
    plan = planned(tmp_path, [[0.0, 1.0, float("nan")][index % 3] for index in range(ROWS)])
    assert (plan.task, plan.classes) == ("binary", ())


def test_plan_keeps_a_copy_of_the_label_for_training_and_only_names_other_leaks(tmp_path: Path) -> None:
    leaks = [Leak(("age",), "copy", "AUC 1"), Leak(("height",), "alone", "AUC 0.99")]
    plan = planned(tmp_path, [index % 2 for index in range(ROWS)], leaks=leaks)
    assert [column for column, _ in plan.training_only] == ["age"]
    assert plan.numbers == ("height",)
    assert [columns for _, columns in plan.suspects] == [("height",)]


def test_plan_of_nothing_but_left_out_columns_says_why(tmp_path: Path) -> None:
    leaks = [Leak((name,), "copy", "AUC 1") for name in ("age", "height", "city")]
    with pytest.raises(DataError, match=r"no column that could predict bought.*scores: it holds lists.*another form"):
        planned(tmp_path, [index % 2 for index in range(ROWS)], leaks=leaks)


def test_plan_rare_class_of_the_eval_split_is_a_class_too(tmp_path: Path) -> None:
    plan = planned(tmp_path, [*["a", "b"] * 149, "a", "rare"])
    assert plan.classes == ("a", "b", "rare")


def test_plan_regression_knows_the_scale_of_its_label(tmp_path: Path) -> None:
    plan = planned(tmp_path, [1000.0 + index / 2 for index in range(ROWS)])
    assert plan.mean == pytest.approx(1074.75)
    assert plan.deviation == pytest.approx(43.3, abs=0.1)


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ([7] * ROWS, "1 different values"),
        ([f"t{i}" for i in range(ROWS)], "300 different texts"),
        ([[1, 2]] * ROWS, "holds lists"),
    ],
)
def test_plan_label_that_cannot_be_learned_is_refused(tmp_path: Path, label: list[Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        planned(tmp_path, label)


def test_plan_unknown_label_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'bought'"):
        planned(tmp_path, [0, 1] * 150, "bougth")


PLAN = Plan(
    name="people",
    data="/data/a: b.csv",
    rows=200,
    label="bou: ght",
    task="binary",
    classes=("no", "yes"),
    numbers=("age", 'he"ight'),
    categories=("city",),
    slices=("city",),
    quantities=("weight",),
    dates=(("born", "%d/%m/%Y"), ("seen: at", "seconds")),
    texts=("what he said",),
    left_out=(("id", "it looks like an id"), ("li: st", "it holds lists")),
    passed_over=("id",),
    training_only=(("gone", "gone is the label bou: ght in another form"),),
    suspects=(("closed alone predicts bou: ght", ("closed",)),),
    notes={"weight": "kg", "city": "codes"},
    time_split={"method": "time", "column": "seen: at", "eval_from": "2024-05-01"},
    group="id",
)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(
    "without",
    [
        "nothing",
        "numbers",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("categories", "quantities", "dates", "texts")),
        "all but texts",
    ],
)
def test_write_module_of_every_kind_fits_the_contract(tmp_path: Path, task: str, without: str) -> None:
    classes = {"binary": ("no", "yes"), "multiclass": ("1", "true", "c"), "regression": ()}[task]
    plan = replace(PLAN, task=task, classes=classes)  # type: ignore[arg-type]
    if without != "nothing":
        named = ("numbers", "categories", "quantities", "dates") if without == "all but texts" else (without,)
        nothing: dict[str, Any] = {**dict.fromkeys(named, ()), "slices": ()}
        plan = replace(plan, **nothing)
    files = write_module(plan, tmp_path / "modules" / "people")
    config = check_module(tmp_path / "modules" / "people")
    assert (config.task, config.classes, config.label.column, config.data) == (task, classes, PLAN.label, PLAN.data)
    assert config.thresholds
    assert config.ingestion.ignore == ("id", "li: st")
    assert config.label.training_only == ("gone",)
    assert [file.name for file in files] == ["module.yaml", "preprocessing.py", "model.py", "schema.pbtxt"]


@pytest.mark.parametrize(
    ("ignored", "learned"),
    [
        pytest.param(["age"], ["categories", "words"], marks=pytest.mark.slow),
        pytest.param(["city"], ["missing", "numbers", "steps", "words"], marks=pytest.mark.slow),
        pytest.param(["said"], ["categories", "missing", "numbers", "steps"], marks=pytest.mark.slow),
        (["age", "city"], ["words"]),
    ],
)
def test_write_module_builds_a_model_where_all_columns_of_a_kind_are_ignored(
    tmp_path: Path, ignored: list[str], learned: list[str]
) -> None:
    import keras
    import tensorflow as tf
    from tensorflow_transform.graph_context import TFGraphContext

    plan = replace(
        PLAN,
        numbers=("age",),
        categories=("city",),
        texts=("said",),
        quantities=(),
        dates=(),
        slices=(),
        passed_over=(),
    )
    write_module(plan, tmp_path / "modules" / "people")
    uri = publish_module(tmp_path / "modules" / "people", str(tmp_path / "published")).uri
    types = {"age": tf.float32, "city": tf.string, "said": tf.string}
    inputs = {name: tf.SparseTensorSpec([None, None], kind) for name, kind in types.items() if name not in ignored}
    traced = tf.function(load_function(uri, "preprocessing", "preprocessing_fn"), input_signature=[inputs])
    # Once a context was left in this thread, TFT's analyzers no longer trace without one.
    with TFGraphContext(module_to_export=tf.Module()):
        outputs = traced.get_concrete_function().structured_outputs
    features = {name: (value.shape[1:], value.dtype.name) for name, value in outputs.items()}
    assert sorted(features) == learned
    build_model = load_function(uri, "model", "build_model")
    model = build_model(
        {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in features.items()},
        dict(check_module(tmp_path / "modules" / "people").hyperparameters),
    )
    assert model.output_shape == (None, 1)


def test_write_module_of_names_with_line_breaks_fits_the_contract(tmp_path: Path) -> None:
    plan = replace(
        PLAN,
        label="bou\nght",
        numbers=("a\nge",),
        quantities=("wei\nght",),
        dates=(("se\nen", "seconds"),),
        left_out=(("i\nd", "i\nd looks like an id"),),
        training_only=(("go\nne", "go\nne is the label in another form"),),
        suspects=(("clo\nsed alone predicts bou\nght", ("clo\nsed",)),),
        notes={"wei\nght": "k\ng", "city": "co\ndes", "se\nen": "or\nelse"},
        time_split={"method": "time", "column": "se\nen", "eval_from": 20240501},
        group="i\nd",
    )
    write_module(plan, tmp_path / "modules" / "people")
    config = check_module(tmp_path / "modules" / "people")
    assert (config.label.column, config.ingestion.ignore) == ("bou\nght", ("i\nd",))
    assert config.label.training_only == ("go\nne",)


def test_write_module_of_numbers_alone_names_no_categories_that_it_does_not_have(tmp_path: Path) -> None:
    plan = replace(PLAN, categories=(), dates=(), slices=())
    files = write_module(plan, tmp_path / "modules" / "people")
    assert not any("CATEGORIES" in file.read_text() for file in files)


def test_a_tenth_of_the_data_of_a_new_module_is_stopped_by_its_schema_and_half_of_it_is_not(tmp_path: Path) -> None:
    def rows(count: int) -> dict[str, Any]:
        return {"x": [float(number) for number in range(count)], "y": [0, 1] * (count // 2)}

    def told(train: int, evaluation: int) -> list[str]:
        folder = tmp_path / str(train)
        write_examples(folder, rows(train), rows(evaluation))
        statistics = compute_statistics(folder)
        schema = infer_schema(statistics, Label(column="y"), bounds=bounds)
        return [one.type for one in validate_examples(folder, statistics, schema).errors]

    write_examples(tmp_path / "usual", rows(400), rows(200))
    fewest = fewest_rows(compute_statistics(tmp_path / "usual"))
    write_module(replace(PLAN, fewest=fewest), tmp_path / "people")
    text = (tmp_path / "people" / "schema.pbtxt").read_text()
    bounds = read_curated_schema(text, Label(column="y"))
    assert bounds.dataset_constraints.min_examples_count == 40
    assert told(40, 20) == ["DATASET_LOW_NUM_EXAMPLES"]
    assert told(200, 100) == []


def test_write_module_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        write_module(PLAN, tmp_path / "people")
    assert list((tmp_path / "people").iterdir()) == []


@pytest.mark.parametrize("name", ["People", "1st", "a-b", ""])
def test_write_module_refuses_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a module"):
        write_module(PLAN, tmp_path / "modules" / name if name else tmp_path / "Ä")


def test_plan_size_follows_rows_and_columns() -> None:
    few, many, wide = (size_of("binary", rows, numbers) for rows, numbers in ((300, 5), (100_000, 5), (100_000, 60)))
    assert few.buckets < wide.buckets < many.buckets
    assert few.batch_size < many.batch_size
    assert few.epochs > many.epochs
    assert size_of("regression", 300, 5).patience > few.patience
    assert size_of("binary", 1, 1).buckets >= 2
    assert sum(few.hidden) < sum(many.hidden)
    assert few.dropout > many.dropout > size_of("regression", 300, 5).dropout
    assert size_of("regression", 300, 5).hidden == many.hidden
