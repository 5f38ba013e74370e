import subprocess
import sys
from pathlib import Path

import pytest

from slipway.errors import ModuleError
from slipway.module_kit.check import check_module
from slipway.module_kit.try_metrics import try_metrics
from tests.tiny_module import CONFIG

FIXED = "def build_model(features, hyperparameters):\n    return None\n"


def test_check_sound_module_returns_its_config(module: Path) -> None:
    assert check_module(module).label.column == "price"


@pytest.mark.parametrize(
    ("value", "fix"),
    [("null", "leave the key out"), (".inf", "finite"), (".nan", "finite"), ("[1, {a: null}]", "leave the key out"),
     ("2026-01-01", "in quotes"), ("{1: 2}", "in quotes")],
)  # fmt: skip
def test_check_hyperparameter_that_json_lacks_is_refused_with_its_line(module: Path, value: str, fix: str) -> None:
    (module / "module.yaml").write_text(f"{CONFIG}hyperparameters:\n  rate: 0.1\n  l2: {value}\n")
    line = CONFIG.count("\n") + 3
    with pytest.raises(ModuleError, match=rf"module\.yaml:{line}: hyperparameters\.l2: .*{fix}"):
        check_module(module)


def test_check_does_not_import_tensorflow_or_the_module(module: Path) -> None:
    (module / "model.py").write_text(f"import tensorflow\nprint('executed')\n{FIXED}")
    code = (
        "import sys\nfrom slipway.module_kit.check import check_module\n"
        f"check_module({str(module)!r})\nassert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("file", "source", "message"),
    [
        (
            "model.py",
            None,
            r"tiny/model\.py is missing; it must define build_model\(features, hyperparameters\)",
        ),
        ("preprocessing.py", None, r"tiny/preprocessing\.py is missing"),
        ("module.yaml", None, r"has no module\.yaml. `slipway module new tiny"),
        (
            "model.py",
            "def build_modell(f, h): ...",
            r"does not define build_model\(.*did you mean 'build_modell'",
        ),
        (
            "model.py",
            "x = 1\ndef build_model(features): ...",
            r"model\.py:2: expected build_model\(features, hyper",
        ),
        (
            "model.py",
            "def build_model(hyperparameters, features): ...",
            r"found build_model\(hyperparameters, fea",
        ),
        ("model.py", "def build_model(features, hyperparameters, extra): ...", "expected build_model"),
        ("model.py", "def build_model(features, hyperparameters, *, extra): ...", "expected build_model"),
        ("model.py", "async def build_model(features, hyperparameters): ...", "expected build_model"),
        (
            "module.yaml",
            f"{CONFIG}metrics: {{cost: low}}\n",
            r"metrics\.py is missing; it must define cost\(labels, pre",
        ),
        ("module.yaml", f"{CONFIG}metrics: {{mean_squared_error: low}}\n", "which is built in"),
        ("sample.py", "def write_sample(path): ...", r"expected write_sample\(path, rows, seed\)"),
        (
            "model.py",
            "def build_model(features,\n    hyperparameters:\n",
            r"model\.py:1: syntax error: '\(' was never",
        ),
        ("model.py", f"import nonexistent\n{FIXED}", r"model\.py:1: no package 'nonexistent' is installed"),
        ("model.py", f"import constants\n{FIXED}", r"write `from \.constants import"),
        ("model.py", f"from modules.taxi import model\n{FIXED}", r"import from `\.`"),
        (
            "model.py",
            f"from .preprocessing import doubble\n{FIXED}",
            r"model\.py:1: .*'doubble'; did you mean 'double'",
        ),
        ("model.py", f"from .features import X\n{FIXED}", r"there is no features\.py"),
        ("model.py", f"from . import feature\n{FIXED}", r"does not define 'feature'"),
        ("model.py", f"from ..other import X\n{FIXED}", r"leaves the module's folder"),
        ("model.py", f"from slipway.module_api import fill_mising\n{FIXED}", "did you mean 'fill_missing'"),
        ("model.py", f"def f():\n    import nonexistent\n{FIXED}", r"model\.py:2: no package 'nonexistent'"),
        ("module.yaml", f"{CONFIG}epoch: 3\n", r"module\.yaml:5: unknown key 'epoch'"),
        ("module.yaml", CONFIG.replace("data: rows.csv", ""), r"no `data:` and no sample\.py"),
        ("schema.pbtxt", 'feature {\n  nam: "x"\n}', r"schema\.pbtxt:2: not a tensorflow_metadata Schema"),
        (
            "schema.pbtxt",
            'feature { name: "price" type: INT float_domain { min: 1 } }',
            r"tiny/schema\.pbtxt: feature 'price': float_domain does not go with type INT",
        ),
        (
            "schema.pbtxt",
            'feature { name: "prize" type: INT }',
            r"tiny/schema\.pbtxt has no feature 'price'.*did you mean 'prize'",
        ),
        (
            "module.yaml",
            f"{CONFIG}thresholds:\n- {{metric: auc, min: 0.5}}\n",
            r"tiny/module\.yaml, evaluation: threshold on auc: no metric of a regression module",
        ),
        (
            "module.yaml",
            f"{CONFIG}thresholds:\n- {{metric: mean_label, max_drop: 0}}\n",
            "max_drop on mean_label: neither more nor less of it is better",
        ),
    ],
)
def test_check_broken_module_says_what_and_where(module: Path, file: str, source: str | None, message: str) -> None:
    if source is None:
        (module / file).unlink()
    else:
        (module / file).write_text(source)
    with pytest.raises(ModuleError, match=message):
        check_module(module)


@pytest.mark.parametrize(
    "source",
    [
        f"try:\n    import nonexistent\nexcept ImportError:\n    nonexistent = None\n{FIXED}",
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nonexistent\n{FIXED}",
        f"from .parts import layers\nfrom .parts.layers import SCALE, double\nfrom . import constants\n{FIXED}",
        f"from .constants import *\nfrom . import parts\n{FIXED}",
        "def build_model(features, hyperparameters, width=3, *, seed=1): ...",
        "build_model = lambda features, hyperparameters: None",
        "from .constants import SCALE as build_model",
        f"import tensorflow as tf, keras, numpy\nimport tensorflow_transform as tft\n{FIXED}",
    ],
)
def test_check_unusual_but_sound_code_passes(module: Path, source: str) -> None:
    (module / "model.py").write_text(source)
    check_module(module)


def test_check_reports_every_problem_at_once(module: Path) -> None:
    (module / "model.py").write_text("import nonexistent\n")
    (module / "preprocessing.py").unlink()
    (module / "module.yaml").write_text(f"{CONFIG}epoch: 3\n")
    with pytest.raises(ModuleError) as refused:
        check_module(module)
    assert len(str(refused.value).splitlines()) == 4


def test_check_schema_in_another_encoding_is_named(module: Path) -> None:
    (module / "schema.pbtxt").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ModuleError, match=r"schema\.pbtxt is not UTF-8"):
        check_module(module)


def test_check_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match="nowhere is not a directory"):
        check_module(tmp_path / "nowhere")


COST = "import numpy as np\n\ndef cost(labels, predictions, weights):\n    return {}\n"


def with_metric(module: Path, source: str) -> Path:
    (module / "module.yaml").write_text(
        f"{CONFIG}metrics: {{cost: low}}\nthresholds: [{{metric: cost, max_drop: 1}}]\n"
    )
    (module / "metrics.py").write_text(source)
    return module


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def costs(labels, predictions, weights): ...", r"does not define cost\(.*; did you mean 'costs'"),
        ("def cost(labels, predictions): ...", r"metrics\.py:1: expected cost\(labels, predictions, weights\)"),
    ],
)
def test_check_metric_that_is_not_there_or_takes_something_else_is_named(
    module: Path, source: str, message: str
) -> None:
    with pytest.raises(ModuleError, match=message):
        check_module(with_metric(module, source))


def test_check_model_that_imports_metrics_is_refused_only_where_they_are_the_modules_own(module: Path) -> None:
    (module / "model.py").write_text(f"from .metrics import cost\n{FIXED}")
    (module / "metrics.py").write_text(COST.format("0.0"))
    check_module(module)
    with pytest.raises(ModuleError, match=r"model\.py:1: metrics\.py is not there"):
        check_module(with_metric(module, COST.format("0.0")))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_try_metrics_calls_each_with_rows_of_the_task(module: Path, task: str) -> None:
    with_metric(
        module, COST.format("len(labels) + np.average(predictions.reshape(len(labels), -1)[:, 0], weights=weights)")
    )
    text = (module / "module.yaml").read_text().replace("regression", task)
    (module / "module.yaml").write_text(text + ("classes: [a, b, c]\n" if task == "multiclass" else ""))
    try_metrics(module, check_module(module))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("float('nan')", "cost answers no finite number"),
        ("labels", "cost answers array.*, a ndarray; it must"),
        ("'high'", "cost answers 'high', a str; it must"),
        ("1 / 0", r"tiny/metrics\.py:4: ZeroDivisionError"),
    ],
)
def test_try_metrics_that_answer_no_number_are_told(module: Path, answer: str, message: str) -> None:
    with_metric(module, COST.format(answer))
    with pytest.raises(ModuleError, match=message):
        try_metrics(module, check_module(module))


def test_check_tuning_without_anything_to_search_is_refused(module: Path) -> None:
    (module / "module.yaml").write_text(f"{CONFIG}tuning: {{trials: 3}}\n")
    with pytest.raises(ModuleError, match="search_space"):
        check_module(module)
    (module / "model.py").write_text(f"{FIXED}\n\ndef search_space(trial):\n    return {{}}\n")
    assert check_module(module).is_tuned
    (module / "model.py").write_text(f"{FIXED}\n\ndef search_space():\n    return {{}}\n")
    with pytest.raises(ModuleError, match=r"model\.py:\d+: expected search_space\(trial\)"):
        check_module(module)
