import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from slipway.errors import ModuleError
from slipway.module_kit.loader import load_function
from slipway.stores.module_store import digest_module, is_published, locate_module, publish_module, read_files


def test_digest_same_content_elsewhere_is_equal(module: Path, tmp_path: Path) -> None:
    shutil.copytree(module, tmp_path / "elsewhere")
    assert digest_module(tmp_path / "elsewhere") == digest_module(module)


@pytest.mark.parametrize("path", ["constants.py", "parts/layers.py", "module.yaml"])
def test_digest_any_edited_file_changes_it(module: Path, path: str) -> None:
    before = digest_module(module)
    (module / path).write_text((module / path).read_text() + "\n")
    assert digest_module(module) != before


def test_digest_renamed_or_moved_file_changes_it(module: Path) -> None:
    before = digest_module(module)
    (module / "parts" / "layers.py").rename(module / "layers.py")
    assert digest_module(module) != before


def test_digest_bytes_moved_between_name_and_content_changes_it(tmp_path: Path) -> None:
    for folder, name, content in (("one", "ab", "c"), ("two", "a", "bc")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(content)
    assert digest_module(tmp_path / "one") != digest_module(tmp_path / "two")


def test_digest_caches_and_hidden_files_do_not_count(module: Path) -> None:
    before = digest_module(module)
    for path in ("__pycache__/model.cpython-311.pyc", ".DS_Store", ".ipynb_checkpoints/model.py", "old.pyc"):
        (module / path).parent.mkdir(exist_ok=True)
        (module / path).write_text("x")
    assert digest_module(module) == before


def test_digest_symbolic_link_is_refused(module: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("x = 1")
    (module / "linked.py").symlink_to(tmp_path / "secret.py")
    with pytest.raises(ModuleError, match=r"linked\.py is a symbolic link"):
        digest_module(module)


def test_digest_large_module_is_refused_and_names_the_largest_file(module: Path) -> None:
    with (module / "rows.csv").open("wb") as file:
        file.truncate(11_000_000)
    with pytest.raises(ModuleError, match=r"10,000,000 bytes at most.*rows\.csv has 11,000,000 bytes"):
        digest_module(module)


def test_publish_twice_reuses_what_is_there(module: Path, tmp_path: Path) -> None:
    first = publish_module(module, tmp_path / "store")
    inode = Path(first.uri).stat().st_ino
    assert publish_module(module, tmp_path / "store") == first
    assert Path(first.uri).stat().st_ino == inode
    assert Path(first.uri).name == first.digest == digest_module(first.uri)


def test_publish_model_edit_keeps_the_preprocessing_view(module: Path, tmp_path: Path) -> None:
    before = publish_module(module, tmp_path / "store")
    (module / "model.py").write_text("def build_model(features, hyperparameters):\n    return None\n")
    after = publish_module(module, tmp_path / "store")
    assert after.preprocessing_uri == before.preprocessing_uri
    assert after.model_uri != before.model_uri
    assert Path(before.model_uri).is_dir()


@pytest.mark.parametrize("path", ["module.yaml", "schema.pbtxt", "sample.py"])
def test_publish_edit_that_is_no_code_keeps_both_views(module: Path, tmp_path: Path, path: str) -> None:
    before = publish_module(module, tmp_path / "store")
    with (module / path).open("a") as file:
        file.write("# edited\n")
    after = publish_module(module, tmp_path / "store")
    assert after.digest != before.digest
    assert (after.preprocessing_uri, after.model_uri) == (before.preprocessing_uri, before.model_uri)


def test_publish_preprocessing_or_helper_edit_changes_both_views(module: Path, tmp_path: Path) -> None:
    before = publish_module(module, tmp_path / "store")
    (module / "constants.py").write_text("SCALE = 3\n")
    after = publish_module(module, tmp_path / "store")
    assert after.preprocessing_uri != before.preprocessing_uri
    assert after.model_uri != before.model_uri


def test_publish_metrics_edit_changes_their_view_alone(module: Path, tmp_path: Path) -> None:
    (module / "metrics.py").write_text("def cost(labels, predictions, weights):\n    return 1\n")
    plain = publish_module(module, tmp_path / "store")
    assert plain.metrics_uri == ""
    assert (Path(plain.model_uri) / "metrics.py").is_file()  # a module of before may use it in model.py
    with (module / "module.yaml").open("a") as file:
        file.write("metrics: {cost: low}\n")
    before = publish_module(module, tmp_path / "store")
    (module / "metrics.py").write_text("def cost(labels, predictions, weights):\n    return 2\n")
    after = publish_module(module, tmp_path / "store")
    assert after.digest != before.digest
    assert after.metrics_uri != before.metrics_uri
    assert (after.preprocessing_uri, after.model_uri) == (before.preprocessing_uri, before.model_uri)
    assert load_function(after.metrics_uri, "metrics", "cost")([], [], []) == 2


def test_publish_damaged_copy_is_replaced(module: Path, tmp_path: Path) -> None:
    published = publish_module(module, tmp_path / "store")
    (Path(published.uri) / "model.py").write_text("tampered = True\n")
    publish_module(module, tmp_path / "store")
    assert digest_module(published.uri) == published.digest
    assert not [entry for entry in Path(published.uri).parent.iterdir() if entry.name.startswith(".")]


def test_publish_bad_name_is_refused(module: Path, tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match="lower-case letters"):
        publish_module(module.rename(module.with_name("Tiny-Model")), tmp_path / "store")


def _publish(module: Path, root: Path) -> None:
    for _ in range(20):
        published = publish_module(module, root)
        assert digest_module(published.uri) == published.digest


def test_publish_several_processes_at_once_all_succeed(module: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_publish, args=(module, tmp_path / "store")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_digest_of_times_and_permissions_is_the_same(module: Path) -> None:
    before = digest_module(module)
    (module / "model.py").chmod(0o755)
    os.utime(module / "model.py", (0, 0))
    assert digest_module(module) == before


def test_locate_is_where_publish_puts_it(module: Path, tmp_path: Path) -> None:
    located = locate_module(module, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert publish_module(module, tmp_path / "store") == located


def test_is_published_only_when_all_of_it_is_there_unchanged(module: Path, tmp_path: Path) -> None:
    root, files = str(tmp_path / "store"), read_files(module)
    assert not is_published("tiny", files, root)
    published = publish_module(module, root)
    assert is_published("tiny", files, root)
    (Path(published.model_uri) / "model.py").unlink()
    assert not is_published("tiny", files, root)


def _join(module: Path, sql: str) -> Path:
    """Lets the module join a shared feature of its project."""
    with (module / "module.yaml").open("a") as file:
        file.write("ingestion: {event_time: at}\nfeatures: [{view: driver/daily, columns: [trips]}]\n")
    view = module.parent.parent / "features" / "driver" / "daily.sql"
    view.parent.mkdir(parents=True, exist_ok=True)
    view.write_text(sql)
    return view


def test_publish_has_the_shared_features_that_module_yaml_names(module: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    moved = Path(shutil.copytree(module, project / "modules" / "tiny"))
    view = _join(moved, "SELECT 1\n")
    first = publish_module(moved, tmp_path / "store")
    assert (Path(first.uri) / "features" / "driver" / "daily.sql").read_text() == "SELECT 1\n"
    assert digest_module(first.uri) == first.digest == digest_module(moved)
    view.write_text("SELECT 2\n")
    second = publish_module(moved, tmp_path / "store")
    assert second.digest != first.digest
    # What transforms and trains does not depend on the SQL, but on the data that come of it.
    assert (second.preprocessing_uri, second.model_uri) == (first.preprocessing_uri, first.model_uri)
    assert load_function(second.model_uri, "model", "build_model")({}, {}) == 2


def test_publish_module_whose_shared_feature_is_missing_is_refused(module: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(module, tmp_path / "project" / "modules" / "tiny"))
    _join(moved, "SELECT 1\n").unlink()
    with pytest.raises(ModuleError, match=r"names the shared feature features/driver/daily\.sql"):
        publish_module(moved, tmp_path / "store")
