"""Secrets by reference; Google's Secret Manager is a strict fake on loopback."""

from __future__ import annotations

from pathlib import Path

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError

from slipway.errors import ConfigError, NotificationError
from slipway.runs.notifications.config import Notifications
from slipway.runs.notifications.secret import read_secret
from tests.fakes.loopback_server import Answer
from tests.fakes.secret_manager import NAME, SecretManager


def test_read_secret_of_a_variable_a_file_and_secret_manager(
    secret_manager: SecretManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t")
    (tmp_path / "token").write_text("s3cr3t\n")
    assert {read_secret(reference, 5) for reference in ("env:TOKEN", f"file:{tmp_path}/token", NAME)} == {"s3cr3t"}


def test_read_secret_that_is_not_there_says_what_to_do(
    secret_manager: SecretManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text("\n")
    for reference, fix in [
        ("env:NO_SUCH", "the variable NO_SUCH is not set"),
        (f"file:{tmp_path}/none", "cannot be read: FileNotFoundError"),
        (f"file:{tmp_path}/empty", "is empty"),
        (NAME.replace("slack", "other"), "there is no such secret"),
    ]:
        with pytest.raises(NotificationError, match=fix):
            read_secret(reference, 5)
    secret_manager.fail("GET", f"/v1/{NAME}:access", 403)
    with pytest.raises(NotificationError, match=r"403 .*roles/secretmanager.secretAccessor"):
        read_secret(NAME, 5)
    secret_manager.answer("GET", f"/v1/{NAME}:access", Answer(200, b'{"payload": "s3cr3t"}'))
    with pytest.raises(NotificationError, match=r"holds no text$"):
        read_secret(NAME, 5)


def test_read_secret_from_a_manager_out_of_reach_is_told(
    secret_manager: SecretManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_manager.hang("GET", f"/v1/{NAME}:access", 1)
    with pytest.raises(NotificationError, match=f"cannot be asked for {NAME}: "):
        read_secret(NAME, 0.2)

    def none(scopes: list[str]) -> None:
        raise DefaultCredentialsError("none here")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(NotificationError, match="DefaultCredentialsError"):
        read_secret(NAME, 0.2)


@pytest.mark.parametrize(
    "email",
    [
        {"host": "mail", "sender": "a@b"},
        {"host": "mail", "recipients": ["a@b"]},
        {"host": "mail", "sender": "a@b", "recipients": ["a@b"], "username": "a"},
        {"host": "mail", "sender": "a@b", "recipients": ["a@b"], "username": "a", "password": "env:P",
         "security": "none"},
    ],
)  # fmt: skip
def test_settings_of_email_that_do_not_go_together_are_refused(email: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"notifications.email.*settings/<environment>.yaml"):
        Notifications.model_validate({"email": email}).require_complete()
