"""The policies for a store of one's own. tests/e2e/test_cluster_on_s3.py has those of the steps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from settings.load import PROJECT
from slipway.errors import StoreError
from slipway.remote import s3
from slipway.stores import storage
from slipway.stores.model_store import open_store
from tests.cli.commands import slipway
from tests.fakes.s3_policy import Policy
from tests.fakes.s3_server import S3FaultProxy, S3Server
from tests.model_files import provenance, write_model
from tests.request_windows import write_requests

POLICIES = sorted((PROJECT / "infrastructure" / "s3").glob("*.json"))


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_policy_names_actions_and_the_bucket_and_no_more(file: Path) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html."""
    policy = json.loads(file.read_text())
    assert (set(policy), policy["Version"]) == ({"Version", "Statement"}, "2012-10-17")
    for statement in policy["Statement"]:
        assert (set(statement), statement["Effect"]) == ({"Sid", "Effect", "Action", "Resource"}, "Allow")
        assert all(re.fullmatch(r"s3:[A-Z][A-Za-z]+", action) for action in statement["Action"])
        whole = statement["Action"] == ["s3:ListBucket"]  # a listing is of the bucket, all else of its objects
        for resource in statement["Resource"]:
            assert re.fullmatch(r"arn:aws:s3:::BUCKET" + ("" if whole else r"/([a-z]+/)+\*"), resource)


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3FaultProxy]:
    monkeypatch.setattr(s3, "_md5_etags", {})
    proxy = S3FaultProxy(s3_server.port)
    proxy.code = "AccessDenied"
    yield proxy
    proxy.close()


def test_serving_fetches_models_and_logs_requests_and_changes_nothing(
    proxy: S3FaultProxy, s3_server: S3Server, tmp_path: Path
) -> None:
    open_store(s3_server.uri("slipway/models")).push(write_model(tmp_path / "model", 1), provenance())
    rights = Policy(PROJECT / "infrastructure" / "s3" / "serving.json")
    proxy.faults.append(rights)
    [version] = open_store(proxy.uri("slipway/models")).versions("taxi")
    store = proxy.uri("slipway/models")
    fetched = slipway(
        "models", "fetch", "taxi", str(version.number), "--store", store, "--to", str(tmp_path / "served")
    )
    assert fetched.exit_code == 0, fetched.output
    write_requests(proxy.uri("slipway/requests"), "taxi", version.number, datetime.now(UTC), [{"a": 1}], [[0.5]])
    assert rights.denied == []
    assert storage.list_files(s3_server.uri("slipway/requests"))
    with pytest.raises(StoreError, match=r"the account lacks s3:PutObject"):
        open_store(store).push(write_model(tmp_path / "other", 2), provenance())
    with pytest.raises(StoreError, match=r"the account lacks s3:GetObject"):
        storage.read_bytes(proxy.uri("slipway/runs/taxi-1/summary.json"))
