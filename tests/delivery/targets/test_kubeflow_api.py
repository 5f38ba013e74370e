"""Credentials, and what each failure says."""

import logging
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from delivery.targets.connection import KubeflowConfig
from slipway.errors import ConfigError, TargetError
from tests.delivery.targets.places import on_kubeflow
from tests.delivery.targets.submissions import submission
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.loopback_server import Answer
from tests.fakes.secret_manager import NAME, VALUE, SecretManager

SECRET = "eyJhbGciOi-secret-of-the-test"


@pytest.mark.parametrize(
    ("status", "attempts", "said"),
    [
        (401, 1, "401.*kubeflow\\.auth"),
        (403, 1, "403.*kubeflow-pipelines-edit"),
        (404, 1, "kubeflow.endpoint.*http://127.0.0.1:\\d+/apis/v2beta1/healthz"),
        (409, 1, "409.*delete it in Kubeflow's UI"),
        (418, 1, "Slipway speaks the API v2beta1"),
        (429, 4, "tried 4 times.*429.*ml-pipeline"),
        (500, 4, "tried 4 times in .*made to answer 500"),
    ],
)
def test_failure_names_the_fix_and_is_retried_if_it_passes(
    kubeflow: FakeKubeflow, status: int, attempts: int, said: str
) -> None:
    kubeflow.fail("GET", ".*/healthz", status, times=9)
    with pytest.raises(TargetError, match=said):
        on_kubeflow(kubeflow).list(1)
    assert len(kubeflow.requests) == attempts


def test_time_out_names_the_setting(kubeflow: FakeKubeflow, pauses: list[float]) -> None:
    kubeflow.hang("GET", ".*/healthz", 0.6, times=9)
    with pytest.raises(TargetError, match=r"0\.3 s.*kubeflow\.timeout_seconds"):
        on_kubeflow(kubeflow, timeout_seconds=0.3).list(1)
    assert pauses == [1.0, 2.0, 4.0]


def test_no_server_names_the_setting_and_the_port_forward(kubeflow: FakeKubeflow) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(TargetError, match=r"127\.0\.0\.1.*kubeflow\.endpoint.*kubectl port-forward"):
        on_kubeflow(kubeflow, endpoint=f"http://127.0.0.1:{port}").list(1)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key."""
    path = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
               "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path),
               "-out", str(path)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_own_certificate_wants_its_authority_named(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with FakeKubeflow(tls=tls) as server:
        with pytest.raises(TargetError, match=r"certificate.*kubeflow\.ca_file"):
            on_kubeflow(server).list(1)
        assert on_kubeflow(server, ca_file=str(certificate)).list(1) == []


def test_server_without_tls_where_https_is_asked_names_the_certificate(kubeflow: FakeKubeflow) -> None:
    with pytest.raises(TargetError, match=r"certificate.*kubeflow\.ca_file"):
        on_kubeflow(kubeflow, endpoint=kubeflow.url.replace("http://", "https://")).list(1)


LOGIN_PAGE = Answer(200, b"<!doctype html><html>Log in</html>", "text/html")


@pytest.mark.parametrize("route", ["/apis/v1beta1/runs/.*", ".*/log"])
def test_login_page_in_place_of_steps_or_a_log_says_how_to_log_in(kubeflow: FakeKubeflow, route: str) -> None:
    target = on_kubeflow(kubeflow)
    run = target.submit(submission("kubeflow"))
    kubeflow.answer("GET", route, LOGIN_PAGE)
    with pytest.raises(TargetError, match=r"kubeflow\.auth"):
        list(target.logs(run.id, None))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(302, b"", "text/html", (("Location", "/dex/auth"),)),
        LOGIN_PAGE,
    ],
    ids=["redirect", "page"],
)
def test_login_page_says_how_to_log_in(kubeflow: FakeKubeflow, answer: Answer) -> None:
    kubeflow.answer("GET", ".*/healthz", answer)
    with pytest.raises(TargetError, match=r"kubeflow\.auth"):
        on_kubeflow(kubeflow).list(1)


def test_other_service_at_the_endpoint_is_recognised(kubeflow: FakeKubeflow) -> None:
    kubeflow.answer("GET", ".*/healthz", Answer(200, b'{"multi_user": {"a": 1}}'))
    kubeflow.answer("GET", ".*/experiments", Answer(200, b'{"experiments": 3}'))
    with pytest.raises((TargetError, ConfigError), match=r"kubeflow\.(endpoint|namespace)"):
        on_kubeflow(kubeflow).list(1)


def with_credential(server: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by: str, auth: str) -> Any:
    if by == "variable":
        monkeypatch.setenv("MY_SECRET", SECRET)
        return on_kubeflow(server, auth=auth, credential_variable="MY_SECRET")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    return on_kubeflow(server, auth=auth, credential_file=str(tmp_path / "secret"))


@pytest.mark.parametrize("by", ["variable", "file"])
@pytest.mark.parametrize("auth", ["token", "cookie", "service_account_token"])
def test_credential_is_sent_and_never_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, by: str, auth: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeKubeflow(**{"cookie" if auth == "cookie" else "token": SECRET}) as server:  # type: ignore[arg-type]
        target = with_credential(server, monkeypatch, tmp_path, by, auth)
        assert target.list(1) == []
        server.fail("GET", ".*", 401)
        with pytest.raises(TargetError) as refused:
            target.list(1)
    assert SECRET not in caplog.text + str(refused.value) + str(refused.value.__cause__)


def test_projected_token_is_read_again_when_it_was_renewed(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    with FakeKubeflow(token="first") as server:
        target = on_kubeflow(server, auth="service_account_token", credential_file=str(token))
        assert target.list(1) == []
        token.write_text("second")
        server.token = "second"
        assert target.list(1) == []


def test_credential_of_secret_manager_is_fetched_once_and_never_told(secret_manager: SecretManager) -> None:
    with FakeKubeflow(token=VALUE) as server:
        target = on_kubeflow(server, auth="token", credential_secret=NAME)
        assert target.list(1) == []
        assert target.list(1) == []
        assert len(secret_manager.requests) == 1
        secret_manager.fail("GET", ".*", 403)
        with pytest.raises(ConfigError, match=r"kubeflow\.credential_secret: .*secretAccessor"):
            on_kubeflow(server, auth="token", credential_secret=NAME).list(1)


@pytest.mark.parametrize("content", [None, "", "two\nlines"], ids=["missing", "empty", "two lines"])
def test_credential_that_is_none_names_where_it_was_looked_for(
    kubeflow: FakeKubeflow, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"token .*kubeflow\.credential_file"):
        on_kubeflow(kubeflow, auth="token", credential_file=str(path)).list(1)


def test_variable_that_is_not_set_is_named(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_SECRET", raising=False)
    with pytest.raises(ConfigError, match=r"MY_SECRET.*kubeflow\.credential_variable.*cookie"):
        on_kubeflow(kubeflow, auth="cookie", credential_variable="MY_SECRET").list(1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"endpoint": ""}, r"kubeflow\.endpoint = '': set it in settings/<environment>\.yaml"),
        ({"endpoint": "kubeflow.example.com"}, "with http:// or https://"),
        ({"auth": "token"}, r"needs kubeflow\.credential_variable, credential_file or credential_secret"),
        ({"ca_file": "/nowhere/ca.pem"}, r"kubeflow\.ca_file = '/nowhere/ca\.pem': there is no such file"),
    ],
)
def test_config_that_lacks_something_names_the_setting(
    kubeflow: FakeKubeflow, changes: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        on_kubeflow(kubeflow, **changes)


def test_multi_user_installation_without_namespace_names_the_setting() -> None:
    with FakeKubeflow(multi_user=True) as server, pytest.raises(ConfigError, match=r"set kubeflow\.namespace"):
        on_kubeflow(server).list(1)


def test_config_never_holds_a_secret() -> None:
    assert not {name for name in KubeflowConfig.model_fields if name in ("token", "cookie", "password")}


def test_installation_before_2_14_is_refused_before_anything_is_made() -> None:
    with FakeKubeflow(version="2.13.1") as server, pytest.raises(TargetError, match=r"Pipelines 2\.13\.1.*2\.14"):
        on_kubeflow(server).submit(submission("kubeflow"))
    assert {request.method for request in server.requests} == {"GET"}


@pytest.mark.parametrize("version", ["2.14.0", "2.16.1", "unknown", "master-55ec846"])
def test_installation_without_limits_gets_none_and_a_warning(version: str, caplog: pytest.LogCaptureFixture) -> None:
    with FakeKubeflow(version="2.14.0") as server:
        server.tag_name = version
        on_kubeflow(server).submit(submission("kubeflow"))
    [kept] = server.versions.values()
    assert (kept["platform_spec"], kept["tags"]) == ([], {})
    assert len(server.runs) == 1
    [warning] = caplog.messages
    assert version in warning
    assert "2.17" in warning


def test_installation_with_limits_gets_them(kubeflow: FakeKubeflow, caplog: pytest.LogCaptureFixture) -> None:
    on_kubeflow(kubeflow).submit(submission("kubeflow"))
    [kept] = kubeflow.versions.values()
    limits = {"activeDeadlineSeconds": 604_800, "resourceTtlOnCompletion": 86_400}
    assert kept["platform_spec"] == [{"platforms": {"kubernetes": {"pipelineConfig": limits}}}]
    assert caplog.messages == []
