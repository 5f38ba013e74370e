from slipway.lineage import Lineage


def test_lineage_of_another_release_is_readable() -> None:
    """Manifests outlive releases; what a record shows must not make a version unreadable."""
    old = {"run": "taxi-1", "module": "taxi", "module_digest": "m", "data_uri": "d"}
    assert Lineage.model_validate(old).pipeline == "training"
    shows = {"verdicts": {"pushed": {"later": 1}}, "later": "x"}
    assert Lineage.model_validate(old | {"shows": shows}).shows.verdicts["pushed"].tone == "good"
