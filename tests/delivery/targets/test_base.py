import pytest

from delivery.targets.base import label_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("taxi_v2", "taxi_v2"),
        ("c0ffee-dirty", "c0ffee-dirty"),
        ("Grüße/Ümlaut", "gr--e--mlaut"),
        ("-edge-", "edge"),
        ("x" * 80, "x" * 63),
    ],
)
def test_label_value_is_one_everywhere(text: str, value: str) -> None:
    assert label_value(text) == value
