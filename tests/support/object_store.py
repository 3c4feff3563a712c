"""An object store, as moto serves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

SECRET = "not-for/anybody+else"


@contextmanager
def object_store() -> Iterator[str]:
    """Yield the address of a server, which binds a port that is free."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"{host}:{port}"
    running.stop()


def make_bucket(server: str, name: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """Return an empty bucket, which this process may write to."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = boto3.resource("s3", endpoint_url=f"http://{server}", region_name="us-east-1").Bucket(name)
    found.create(**options)
    found.objects.all().delete()
    return found


def place_in(server: str, folder: str) -> str:
    """Return the address of a folder, as settings and options have it."""
    return f"s3://{folder}?endpoint_override={server}&scheme=http&region=us-east-1"
