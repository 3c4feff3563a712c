"""Parquet files in S3, as moto serves it."""

from __future__ import annotations

import json
import re
from contextlib import closing
from functools import partial
from typing import Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import ThreadedMotoServer

from bemi_django.exceptions import SinkUnavailable
from tests.support.exporting import ParquetFiles, Sink
from tests.support.load_pipeline import LoadPipeline
from tests.support.object_store import make_bucket, object_store, place_in

SECRET = "not-for/anybody+else"


def test_files_and_manifests_are_objects(
    trail: LoadPipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"s3://lake/audit?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    sink = Sink(trail, url, list)
    try:
        resource = boto3.resource("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        with closing(resource.meta.client):
            bucket = resource.Bucket("lake")
            bucket.create()
            sink.run()
            trail.write(2)
            sink.run()
            month = next(iter(bucket.objects.all())).key.split("/")[1]
            # An object whose upload was complete when the worker was killed.
            bucket.put_object(Key=f"audit/{month}/changes-00000002.parquet", Body=b"orphan")
            trail.write(3)
            assert sink.run() == 3
            # pyarrow makes an object for the folder when it deletes one in it.
            objects = [thing for thing in bucket.objects.all() if not thing.key.endswith("/")]
            found = {thing.key: thing.get()["Body"].read() for thing in objects}
    finally:
        sink.drop()
        server.stop()
    assert _changes(found, month) == [2, 3]
    assert SECRET not in caplog.text and "endpoint_override" not in caplog.text


def _changes(found: dict[str, Any], month: str) -> list[int]:
    manifests = {key: json.loads(found[key]) for key in sorted(found) if key.endswith(".json")}
    assert list(manifests) == [f"audit/{month}/changes-0000000{number}.json" for number in (1, 2)]
    files = [f"audit/{month}/{manifest['file']}" for manifest in manifests.values()]
    assert sorted(found) == sorted([f"audit/{month}/_slot", *manifests, *files])
    assert all(found[file].startswith(b"PAR1") for file in files)
    assert [re.sub("[0-9a-f]{8}[.]", "TOKEN.", file.rpartition("/")[2]) for file in files] == [
        f"changes-0000000{number}-TOKEN.parquet" for number in (1, 2)
    ]
    return [manifest["changes"] for manifest in manifests.values()]


@pytest.mark.parametrize("ending", ["parquet", "json"])
def test_a_store_that_refuses_now_and_then_loses_nothing(
    trail: LoadPipeline, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    faults: list[str] = []
    answer = DomainDispatcherApplication.__call__

    def refuse(application: Any, environ: Any, start: Any) -> Any:
        is_writing = environ["REQUEST_METHOD"] in ("PUT", "POST")
        if not (faults and is_writing and environ["PATH_INFO"].endswith(ending)):
            return answer(application, environ, start)
        fault = faults.pop()
        start(fault, [("Content-Type", "application/xml")])
        code = fault.partition(" ")[2].replace(" ", "")
        return [f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()]

    monkeypatch.setattr(DomainDispatcherApplication, "__call__", refuse)
    with object_store() as server:
        bucket = make_bucket(server, "lake", monkeypatch)
        with closing(bucket.meta.client):
            sink = Sink(trail, place_in(server, "lake/audit"), partial(ParquetFiles().of_bucket, bucket))
            try:
                sink.run()
                for fault in ("403 Access Denied", "503 Slow Down", "400 Request Timeout"):
                    faults.append(fault)
                    trail.write(1)
                    assert sink.run() == 1
                    assert not faults
                assert len(sink.catch_up()) == 3
            finally:
                sink.drop()
                # The next server has the same buckets.
                bucket.objects.all().delete()


@pytest.mark.parametrize("has_botocore", [True, False])
def test_a_manifest_that_came_at_the_last_moment_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch, has_botocore: bool
) -> None:
    """A worker is paused between its look for another's manifest and its own."""
    from bemi_django.sinks import new_objects
    from bemi_django.sinks.parquet_place import ParquetPlace

    if not has_botocore:
        monkeypatch.setattr(new_objects, "find_spec", lambda name: None)
    with object_store() as server:
        bucket = make_bucket(server, "lake", monkeypatch)
        with closing(bucket.meta.client):
            paused, other = (ParquetPlace(place_in(server, "lake/audit"), "s3", "slot") for _ in range(2))
            for place, content in ((paused, b"of the paused one"), (other, b"of the other one")):
                with place.written() as file:
                    file.write(content)
            other.complete(1, 0, 8)
            monkeypatch.setattr(ParquetPlace, "_require_next", lambda place: None)
            if has_botocore:
                with pytest.raises(SinkUnavailable, match="is being written by another worker"):
                    paused.complete(2, 0, 16)
                paused.discard()
            else:
                # What the documentation says of it.
                paused.complete(2, 0, 16)
            there = {thing.key.rpartition("/")[2]: thing for thing in bucket.objects.all()}
            found = {name: thing.get()["Body"].read() for name, thing in there.items()}
            bucket.objects.all().delete()
    manifest = json.loads(found["changes-00000001.json"])
    kept = b"of the other one" if has_botocore else b"of the paused one"
    assert found[manifest["file"]] == kept
    assert sum(name.endswith(".parquet") for name in found) == (1 if has_botocore else 2)
