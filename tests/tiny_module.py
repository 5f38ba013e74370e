"""A sound module; it needs no TensorFlow to be imported."""

from __future__ import annotations

from pathlib import Path

CONFIG = """\
contract: 1
task: regression
label: {column: price}
data: rows.csv
"""


def write_module(folder: Path) -> Path:
    (folder / "parts").mkdir(parents=True)
    (folder / "module.yaml").write_text(CONFIG)
    (folder / "constants.py").write_text("SCALE = 2\n")
    (folder / "parts" / "layers.py").write_text(
        "from ..constants import SCALE\n\ndef double(x):\n    return SCALE * x\n"
    )
    (folder / "preprocessing.py").write_text(
        "from .parts.layers import double\n\ndef preprocessing_fn(inputs):\n    return {'x': double(inputs['x'])}\n"
    )
    (folder / "model.py").write_text(
        "from .constants import SCALE\n\ndef build_model(features, hyperparameters):\n    return SCALE\n"
    )
    return folder
