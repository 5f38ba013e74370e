from pathlib import Path

import pytest

from settings import load
from settings.load import PROJECT, load_settings
from slipway.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLIPWAY_HOME", "SLIPWAY_ENV"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for settings/."""
    (tmp_path / "base.yaml").write_text("evaluation: {engine: vectorised}\ndistribution: {strategy: one_device}\n")
    (tmp_path / "staging.yaml").write_text("distribution: {strategy: mirrored}\n")
    monkeypatch.setattr(load, "FOLDER", tmp_path)
    return tmp_path


def test_load_settings_by_default_keeps_state_in_the_project() -> None:
    assert load_settings().home == PROJECT / ".slipway"


def test_load_settings_environment_overrides_base(folder: Path) -> None:
    settings = load_settings("staging")
    assert settings.distribution.strategy == "mirrored"
    assert settings.evaluation.engine == "vectorised"


def test_load_settings_variable_overrides_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_DISTRIBUTION__WORKERS", "3")
    assert load_settings("staging").distribution.workers == 3


def test_load_settings_empty_variable_is_empty_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "staging.yaml").write_text("serving: {overlay: staging}\n")
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "")
    assert load_settings("staging").serving.overlay == ""


def test_load_settings_flag_overrides_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_DISTRIBUTION__STRATEGY", "mirrored")
    settings = load_settings("staging", [("distribution.strategy", "one_device")])
    assert settings.distribution.strategy == "one_device"


def test_load_settings_home_is_relative_to_where_one_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIPWAY_HOME", "2026")
    assert load_settings().home == tmp_path / "2026"


def test_load_settings_unknown_key_names_the_file_and_the_nearest_key(folder: Path) -> None:
    (folder / "staging.yaml").write_text("evaluation: {engin: tfma}\n")
    with pytest.raises(
        ConfigError,
        match=r"staging\.yaml:1: unknown setting evaluation\.engin; did you mean evaluation\.engine",
    ):
        load_settings("staging")


def test_load_settings_wrong_value_names_the_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_EVALUATION__ENGINE", "spark")
    with pytest.raises(ConfigError, match=r"SLIPWAY_EVALUATION__ENGINE: evaluation\.engine = 'spark'"):
        load_settings()


def test_load_settings_key_given_twice_names_file_and_line(folder: Path) -> None:
    (folder / "staging.yaml").write_text("evaluation:\n  engine: tfma\n  engine: vectorised\n")
    with pytest.raises(ConfigError, match=r"staging\.yaml:3: .*key 'engine' is given twice"):
        load_settings("staging")


def test_load_settings_key_given_twice_in_a_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_EVALUATION", "{engine: tfma, engine: vectorised}")
    with pytest.raises(ConfigError, match=r"SLIPWAY_EVALUATION.*'engine' is given twice"):
        load_settings()


@pytest.mark.parametrize("where", ["file", "variable"])
def test_load_settings_reads_an_exponent_as_a_number(folder: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    if where == "file":
        (folder / "base.yaml").write_text("serving: {golden_tolerance: 1e-3}\nschedules: {}\n")
    else:
        monkeypatch.setenv("SLIPWAY_SCHEDULES", "{n: {module: taxi, cron: '@daily', overrides: {x: 1e-3}}}")
        assert load_settings().schedules["n"].overrides == {"x": 0.001}
    assert load_settings().serving.golden_tolerance == (0.001 if where == "file" else 1e-5)


def test_load_settings_unknown_environment_lists_those_there_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no environment 'prod': settings/ has staging"):
        load_settings("prod")


def test_load_settings_file_that_is_no_mapping_is_refused(folder: Path) -> None:
    (folder / "staging.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match="found list"):
        load_settings("staging")


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_load_settings_every_environment_of_the_project_is_valid(environment: str) -> None:
    assert load_settings(environment).compute["default"].cpu


@pytest.mark.parametrize("name", ["WEBHOOK__URL", "EMAIL__PASSWORD"])
def test_load_settings_secret_in_place_of_its_name_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"SLIPWAY_NOTIFICATIONS__{name}", "https://hooks.example.com/s3cr3t")
    with pytest.raises(ConfigError, match="refers to a secret and must not contain it: write env:VARIABLE") as refused:
        load_settings()
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "address"),
    [
        ("kubeflow.endpoint", "http://user:hunter2@127.0.0.1:1/pipeline"),
        ("kubeflow.ui", "https://hunter2@kubeflow.example"),
        ("vertex.endpoint", "http://user:hunter2@[::1]:1"),
        ("vertex.logging_endpoint", "https://user:hunter2@logging.example"),
        ("delivery.image_repository", "user:hunter2@registry.example/slipway"),
    ],
)
def test_load_settings_address_with_a_password_is_refused_and_not_shown(key: str, address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(None, [(key, address)])
    assert key in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_load_settings_address_may_have_an_at_sign_in_its_path() -> None:
    assert load_settings(None, [("kubeflow.ui", "https://h/user@x")]).kubeflow.ui == "https://h/user@x"
