"""Objects of S3 that are written where there are none, by the botocore that happens to be installed."""

from __future__ import annotations

from typing import Any

import pytest

from bemi_django.sinks.new_objects import NewObjects, new_objects

exceptions = pytest.importorskip("botocore.exceptions")


class Refusing:
    """A client that writes nothing."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def put_object(self, **_: Any) -> None:
        raise self._error


def refused(error: Exception) -> NewObjects:
    place = NewObjects("s3://lake/audit")
    place._client = Refusing(error)
    return place


def test_what_cannot_ask_for_the_condition_leaves_it_to_pyarrow() -> None:
    unknown = exceptions.ParamValidationError(report='Unknown parameter in input: "IfNoneMatch"')
    untrusted = exceptions.SSLError(endpoint_url="https://s", error="[SSL: CERTIFICATE_VERIFY_FAILED] no")
    for error in (unknown, untrusted, exceptions.NoCredentialsError()):
        assert refused(error).put("lake/audit/one", b"") is None


def test_what_may_pass_is_an_error_of_the_store() -> None:
    for error in (
        exceptions.SSLError(endpoint_url="https://s", error="EOF occurred in violation of protocol"),
        exceptions.ReadTimeoutError(endpoint_url="https://s"),
    ):
        with pytest.raises(OSError, match="https://s"):
            refused(error).put("lake/audit/one", b"")


@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        ("endpoint_override=minio:9000", "https://minio:9000"),
        ("endpoint_override=minio:9000&scheme=http", "http://minio:9000"),
        ("endpoint_override=http%3A%2F%2Fminio%3A9000", "http://minio:9000"),
    ],
)
def test_an_endpoint_has_a_scheme(options: str, endpoint: str) -> None:
    place = new_objects(f"s3://key:secret@lake/audit?region=us-east-1&{options}")
    assert place is not None and place._connected().meta.endpoint_url == endpoint
