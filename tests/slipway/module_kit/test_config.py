from pathlib import Path

import pytest

from slipway.errors import ConfigError
from slipway.module_kit.config import read_config
from tests.tiny_module import CONFIG


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{CONFIG}thresholdz: []\n",
            r"module\.yaml:5: unknown key 'thresholdz'; did you mean 'thresholds'\?",
        ),
        (f"{CONFIG}training: {{epoch: 2}}\n", r":5: unknown key 'training\.epoch'; did you mean 'epochs'\?"),
        (
            f"{CONFIG}split:\n  method: hash\n  trian: 2\n",
            r":7: unknown key 'split\.trian'; did you mean 'train'\?",
        ),
        (
            f"{CONFIG}split: {{method: time, colum: x, eval_from: 3}}\n",
            r"'split\.colum'; did you mean 'column'\?",
        ),
        (
            f"{CONFIG}thresholds:\n- {{metric: auc, min: 0.9}}\n- {{metric: r_sqared, min: 0.1}}\n",
            r":7: thresholds\[1\]\.metric is 'r_sqared'; did you mean 'r_squared'\?",
        ),
        (
            f"{CONFIG}metrics: {{cost: low}}\nthresholds:\n- {{metric: cots, min: 0.1}}\n",
            r":7: thresholds\[0\]\.metric is 'cots'; did you mean 'cost'\?",
        ),
        (f"{CONFIG}metrics: {{cost: small}}\n", r":5: metrics\.cost"),
        (f"{CONFIG}metrics: {{Cost-1: low}}\n", r":5: metrics"),
        (f"{CONFIG}training: {{class_weights: balanced}}\n", "class_weights is for classes"),
        (
            CONFIG.replace("regression", "multiclass") + "classes: [a, b]\ntraining: {class_weights: {c: 2}}\n",
            "class_weights names 'c', which is no class; classes are a, b",
        ),
        (
            CONFIG.replace("regression", "binary") + "training: {class_weights: {true: 0}}\n",
            "class_weights.*greater than 0",
        ),
        (CONFIG.replace("price}", "price, weight: price}"), "label.weight and label.column are both 'price'"),
        (f"{CONFIG}split: {{method: group, column: price}}\n", "split.column and label.column are both 'price'"),
        (
            f"{CONFIG}split: {{method: hash, columns: [id]}}\ningestion: {{ignore: [id]}}\n",
            "ingestion.ignore names 'id', which split.columns needs",
        ),
        (f"{CONFIG}thresholds:\n- metric: auc\n", r":6: thresholds\[0\]: threshold on auc has no bound"),
        (f"{CONFIG}thresholds:\n- {{metric: r_squared, min: .nan}}\n", r":6: thresholds\[0\]\.min: .*finite number"),
        (f"{CONFIG}training: {{epochs: many}}\n", r":5: training\.epochs: .*valid integer.*'many'"),
        (f"{CONFIG}classes: [1, 2]\n", r':5: classes\[0\] must be text: write "1", in quotes'),
        (f"{CONFIG}split: {{train: 2}}\n", r":5: split needs the key 'method', which says what kind it is"),
        (f"{CONFIG}training: 3\n", r":5: training: expected `key: value` lines under it, found 3"),
        (CONFIG.replace("contract: 1", "contract: 2"), r":1: contract 2 is unknown; .* knows contract: 1"),
        (CONFIG.replace("contract: 1\n", ""), r":1: contract is missing"),
        (f"{CONFIG}task: binary\n", r":5: .*key 'task' is given twice"),
        (f"{CONFIG}classes: [a\nslices: []\n", r":6: not valid YAML"),
        (f"{CONFIG}ingestion: {{delimiter: ab}}\n", "ingestion.delimiter is 'ab'"),
        (f"{CONFIG}ingestion: {{decimal: ',', thousands: ','}}\n", "are both ','"),
        (f"{CONFIG}ingestion: {{ignore: [a]}}\nslices: [[a]]\n", "ingestion.ignore names 'a', which slices needs"),
        (f"{CONFIG}classes: [a, b]\n", "a regression module has no classes"),
        (f"{CONFIG}split: {{method: time, column: x, eval_from: 2024-13-45}}\n", "not valid YAML: month must be in"),
        (f"{CONFIG}[a, b]: 1\n", ":5: .*unhashable key"),
        (f"{CONFIG}hyperparameters: &all\n  again: *all\n", "not valid YAML"),
        ("- a\n- b\n", r":1: expected `key: value` lines, found list"),
        ("", r"label is missing"),
    ],
)
def test_read_config_mistake_names_line_path_and_fix(module: Path, text: str, message: str) -> None:
    (module / "module.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(module)


def test_read_config_bad_utf8_is_an_error(module: Path) -> None:
    (module / "module.yaml").write_bytes(b"contract: 1\n# caf\xe9\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(module)


def test_read_config_exponent_without_a_dot_is_a_number(module: Path) -> None:
    (module / "module.yaml").write_text(f"{CONFIG}hyperparameters: {{rate: 1e-3, units: 64, name: 1e-3x}}\n")
    assert read_config(module).hyperparameters == {"rate": 0.001, "units": 64, "name": "1e-3x"}
