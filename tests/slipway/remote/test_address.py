import pytest

from slipway.errors import StoreError
from slipway.remote.address import RETRY_SECONDS, Address, is_remote, parse, shown


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("gs://b", Address("gs", "b", "", False, "", RETRY_SECONDS)),
        ("gs://b/x/y/", Address("gs", "b", "x/y", False, "", RETRY_SECONDS)),
        (
            "gs://anonymous@b/x?scheme=http&endpoint_override=localhost:1&retry_limit_seconds=2",
            Address("gs", "b", "x", True, "http://localhost:1", 2.0),
        ),
        (
            "s3://b/x?endpoint_override=minio:9000&region=eu-central-1&force_virtual_addressing=true",
            Address("s3", "b", "x", False, "https://minio:9000", RETRY_SECONDS, "eu-central-1", True),
        ),
        ("s3://b/day@2/x@y.csv", Address("s3", "b", "day@2/x@y.csv", False, "", RETRY_SECONDS)),
        ("minio://b/x", Address("s3", "b", "x", False, "", RETRY_SECONDS)),  # Kubeflow's own word for it
    ],
)
def test_parse_gives_every_part(uri: str, address: Address) -> None:
    assert parse(uri) == address


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs:///x", "the bucket's name is missing; write gs://bucket/path"),
        ("gs://token@b/x", "keep secrets out of URIs"),
        ("s3://AKIA:secret@b/x", "keep secrets out of URIs"),
        ("s3://AKIA:with/secret@b/x", "keep secrets out of URIs"),
        ("s3://b/x?access_key=AKIA&secret_key=secret", "the query has access_key, secret_key"),
        ("s3://b/x?endpoint=host", "the query has endpoint, and may have scheme, endpoint_override"),
        ("gs://b/x?retry_limit_seconds=soon", "retry_limit_seconds = 'soon'"),
    ],
)
def test_parse_wrong_uri_names_the_fix(uri: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as refused:
        parse(uri)
    assert "secret@" not in str(refused.value)
    assert "=secret" not in str(refused.value)


def test_is_remote_knows_the_schemes() -> None:
    assert is_remote("gs://b/x")
    assert is_remote("s3://b/x")
    assert is_remote("minio://b/x")
    assert not is_remote("/x")
    assert not is_remote("file:///x")
    with pytest.raises(StoreError, match=r"hdfs:// is not supported.*gs://, s3://"):
        is_remote("hdfs://b/x")


def test_shown_is_without_account_and_query() -> None:
    assert shown("gs://anonymous@b/x/y?scheme=http") == "gs://b/x/y"
    assert shown("s3://b/x?endpoint_override=minio:9000&region=eu-central-1") == "s3://b/x"
    assert shown("/x/what?") == "/x/what?"


def test_split_and_below_name_an_object() -> None:
    folder, name = parse("gs://anonymous@b/x/y?scheme=http").split()
    assert (folder.path, name) == ("x", "y")
    assert folder.below("y") == "gs://b/x/y"
