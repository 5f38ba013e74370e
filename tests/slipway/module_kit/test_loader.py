import shutil
from pathlib import Path

import pytest

from slipway.errors import ModuleDigestError, ModuleError
from slipway.module_kit.loader import load_function
from slipway.stores.module_store import digest_module, publish_module
from tests.tiny_module import CONFIG


def test_load_relative_imports_work(module: Path, tmp_path: Path) -> None:
    published = publish_module(module, tmp_path / "store")
    assert load_function(published.preprocessing_uri, "preprocessing", "preprocessing_fn")({"x": 4}) == {"x": 8}
    assert load_function(published.model_uri, "model", "build_model")({}, {}) == 2


def test_load_two_versions_live_in_one_process(module: Path, tmp_path: Path) -> None:
    old = publish_module(module, tmp_path / "store")
    (module / "constants.py").write_text("SCALE = 3\n")
    new = publish_module(module, tmp_path / "store")
    functions = [load_function(each.model_uri, "model", "build_model") for each in (old, new, old)]
    assert [function({}, {}) for function in functions] == [2, 3, 2]


def test_load_package_with_init_runs_it(module: Path, tmp_path: Path) -> None:
    (module / "__init__.py").write_text("FROM_INIT = 7\n")
    (module / "model.py").write_text(
        "from . import FROM_INIT\n\ndef build_model(features, hyperparameters):\n    return FROM_INIT\n"
    )
    published = publish_module(module, tmp_path / "store")
    assert load_function(published.uri, "model", "build_model")({}, {}) == 7


def test_load_edited_copy_is_refused_with_both_digests(module: Path, tmp_path: Path) -> None:
    published = publish_module(module, tmp_path / "store")
    (Path(published.model_uri) / "constants.py").write_text("SCALE = 1000\n")
    with pytest.raises(ModuleDigestError) as refused:
        load_function(published.model_uri, "model", "build_model")
    assert Path(published.model_uri).name in str(refused.value)
    assert digest_module(published.model_uri) in str(refused.value)


def test_load_bytecode_left_by_an_import_does_not_change_the_digest(module: Path, tmp_path: Path) -> None:
    published = publish_module(module, tmp_path / "store")
    load_function(published.uri, "model", "build_model")
    load_function(published.uri, "preprocessing", "preprocessing_fn")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nonexistent_package_x\n", r"tiny/model\.py:1: ModuleNotFoundError: .*nonexistent_package_x"),
        (
            "\nfrom .constants import MISSING\n",
            r"tiny/model\.py:2: ImportError: cannot import name 'MISSING'",
        ),
        ("x = 1\ny = x / 0\n", r"tiny/model\.py:2: ZeroDivisionError: division by zero"),
        ("x = 1\ndef f(:\n", r"tiny/model\.py:2: SyntaxError"),
        ("x = 1\n", r"tiny/model\.py does not define the function build_model"),
        ("build_model = 3\n", r"does not define the function build_model"),
    ],
)
def test_load_broken_code_names_the_users_line(module: Path, tmp_path: Path, source: str, message: str) -> None:
    (module / "model.py").write_text(source)
    published = publish_module(module, tmp_path / "store")
    for _ in range(2):
        with pytest.raises(ModuleError, match=message):
            load_function(published.model_uri, "model", "build_model")


def test_load_function_that_raises_names_the_users_line(module: Path, tmp_path: Path) -> None:
    published = publish_module(module, tmp_path / "store")
    function = load_function(published.preprocessing_uri, "preprocessing", "preprocessing_fn")
    with pytest.raises(ModuleError, match=r"tiny/preprocessing\.py:4: KeyError: 'x'"):
        function({})


def test_load_broken_init_can_be_reported_again(module: Path, tmp_path: Path) -> None:
    (module / "__init__.py").write_text("raise RuntimeError('no licence')\n")
    published = publish_module(module, tmp_path / "store")
    for _ in range(2):
        with pytest.raises(ModuleError, match=r"tiny/__init__\.py:1: RuntimeError: no licence"):
            load_function(published.uri, "model", "build_model")


def test_load_missing_file_is_named(module: Path, tmp_path: Path) -> None:
    published = publish_module(module, tmp_path / "store")
    with pytest.raises(ModuleError, match=r"module tiny has no model\.py"):
        load_function(published.preprocessing_uri, "model", "build_model")


@pytest.mark.parametrize("view", ["uri", "preprocessing_uri", "model_uri"])
def test_load_contract_that_this_version_does_not_know_is_refused(module: Path, tmp_path: Path, view: str) -> None:
    (module / "module.yaml").write_text(CONFIG.replace("contract: 1", "contract: 2"))
    published = publish_module(module, tmp_path / "store")
    with pytest.raises(ModuleError, match=r"tiny .*contract 2; .*contract 1"):
        load_function(getattr(published, view), "preprocessing", "preprocessing_fn")


def test_load_module_published_before_contracts_were_kept_still_works(module: Path, tmp_path: Path) -> None:
    (module / "module.yaml").unlink()
    old = shutil.copytree(module, tmp_path / "store" / "tiny" / digest_module(module))
    assert load_function(str(old), "model", "build_model")({}, {}) == 2
