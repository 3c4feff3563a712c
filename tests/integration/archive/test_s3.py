"""An archive in S3, as moto serves it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError

from tests.integration.archive.conftest import Bemi
from tests.support.object_store import SECRET, make_bucket, object_store, place_in
from tests.support.old_months import FIRST, SECOND, remove, rows, write


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with object_store() as address:
        yield address


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    return make_bucket(server, "logs", monkeypatch)


def test_months_go_to_s3_and_come_back(bemi: Bemi, server: str, bucket: Any) -> None:
    for number in (1, 2):
        write(number)
    write(3, SECOND)
    before = rows()
    place = place_in(server, "logs/of-shop")
    bemi("archive", "--before", "2003-07", "--keep", "--to", place)
    names = {thing.key for thing in bucket.objects.all()}
    assert names == {
        f"of-shop/{month}/{name}"
        for month in (FIRST, SECOND)
        for name in ("manifest.json", "part-00000.parquet")
    }
    assert "(3 rows)" in bemi("archive", "query", "SELECT id FROM changes", "--from", place)
    with pytest.raises(CommandError, match="cannot answer|archive is only read"):
        bemi("archive", "query", "SELECT * FROM read_parquet('s3://logs/*')", "--from", place)
    for month in (FIRST, SECOND):
        remove(month)
        bemi("import", month, "--from", place)
    assert rows() == before
    thing = bucket.Object(f"of-shop/{FIRST}/part-00000.parquet")
    thing.put(Body=thing.get()["Body"].read()[:-1])
    remove(FIRST)
    with pytest.raises(CommandError, match=f"s3://logs/of-shop/{FIRST}/part-00000.parquet is damaged"):
        bemi("import", FIRST, "--from", place)
    thing.delete()
    with pytest.raises(CommandError, match=f"s3://logs/of-shop/{FIRST}/part-00000.parquet is missing"):
        bemi("import", FIRST, "--from", place)


def test_a_bucket_that_is_missing_is_one_line_without_secrets(bemi: Bemi, server: str, bucket: Any) -> None:
    write(1)
    address = f"s3://somebody:{SECRET.replace('/', '%2F')}@nothing/x?endpoint_override={server}&scheme=http"
    with pytest.raises(CommandError, match="cannot read or write the archive s3://nothing/x") as refused:
        bemi("archive", "--before", "2003-07", "--keep", "--to", f"{address}&region=us-east-1")
    message = str(refused.value)
    assert "\n" not in message and "not-for" not in message
