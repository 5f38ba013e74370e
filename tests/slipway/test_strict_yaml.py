"""YAML that people write: what its errors tell, and that no depth ends the process."""

from pathlib import Path

import pytest

from slipway.errors import ConfigError
from slipway.strict_yaml import parse_yaml


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: *other\n", ":2: not valid YAML: .*'other'"),
        ("a: 1\nb: @x\n", ":2: not valid YAML: .*'@'"),
        ("a: 1\nb: 2\na: 3\n", ":3: not valid YAML: .*'a' is given twice"),
        ("a: \ud800\n", "not valid YAML: .*#xd800"),
    ],
)
def test_an_error_names_the_line_and_what_is_wrong_there(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_yaml(text, Path("module.yaml"))


@pytest.mark.parametrize("opened", ["[", "{a: ", "- "])
def test_nesting_of_any_depth_is_an_error(opened: str) -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_yaml(opened * 100_000, Path("module.yaml"))


def test_values_and_lines_are_those_of_the_file() -> None:
    document = parse_yaml("rate: 1e-3\nof:\n  days: [1, 2]\n", Path("module.yaml"))
    assert document.values == {"rate": 0.001, "of": {"days": [1, 2]}}
    assert str(document.error(("of", "days"), "wrong")) == "module.yaml:3: wrong"
