from pathlib import Path

import pytest

from delivery.deploy import sync_module
from slipway.errors import ModuleError
from slipway.module_kit.loader import load_function
from slipway.stores.module_store import digest_module
from tests.each_store import ON_EACH_STORE
from tests.fakes.fault_proxy import FaultProxy


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "modules" / "tiny"
    (folder / "parts").mkdir(parents=True)
    (folder / "module.yaml").write_text("contract: 1\ntask: regression\nlabel: {column: y}\ndata: gs://b/rows.csv\n")
    (folder / "preprocessing.py").write_text("def preprocessing_fn(inputs):\n    return inputs\n")
    (folder / "parts" / "layers.py").write_text("SIZE = 8\n")
    (folder / "model.py").write_text(
        "from .parts.layers import SIZE\n\ndef build_model(features, hyperparameters):\n    return SIZE\n"
    )
    return folder


@ON_EACH_STORE
def test_sync_uploads_once_and_says_so(module: Path, fault_proxy: FaultProxy) -> None:
    root = fault_proxy.uri("home/modules")
    first, uploaded = sync_module(module, root)
    assert uploaded
    assert first.uri.partition("?")[0] == f"{root.partition('?')[0]}/tiny/{digest_module(module)}"
    assert sync_module(module, root) == (first, False)


def test_sync_to_a_directory(module: Path, tmp_path: Path) -> None:
    assert [sync_module(module, str(tmp_path / "store"))[1] for _ in range(2)] == [True, False]


def test_sync_edit_in_a_subfolder_is_another_digest_and_the_old_one_stays(module: Path, tmp_path: Path) -> None:
    old, _ = sync_module(module, str(tmp_path / "store"))
    (module / "parts" / "layers.py").write_text("SIZE = 16\n")
    new, _ = sync_module(module, str(tmp_path / "store"))
    assert old.digest != new.digest
    assert load_function(old.model_uri, "model", "build_model")({}, {}) == 8
    assert load_function(new.model_uri, "model", "build_model")({}, {}) == 16


def test_sync_module_that_breaks_the_contract_is_not_uploaded(module: Path, tmp_path: Path) -> None:
    (module / "model.py").write_text("def build(features): ...\n")
    with pytest.raises(ModuleError, match="does not define build_model"):
        sync_module(module, str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_sync_contract_that_is_unknown_names_the_one_that_is_known(module: Path, tmp_path: Path) -> None:
    config = module / "module.yaml"
    config.write_text(config.read_text().replace("contract: 1", "contract: 7"))
    with pytest.raises(ModuleError, match="contract 7 is unknown; this version of Slipway knows contract: 1"):
        sync_module(module, str(tmp_path / "store"))
