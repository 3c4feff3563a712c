"""Addresses of sinks: what they lead to, and the slots that they have."""

from __future__ import annotations

import pytest

from bemi_django.sinks.addresses import ExportAddress, parse
from bemi_django.wire.queue_address import QueueAddress


def test_an_address_leads_to_a_sink_by_its_scheme() -> None:
    assert isinstance(parse("nats://host:4222/stream"), QueueAddress)
    kinds = {
        "-": "stdout",
        "stdout:": "stdout",
        "file:///a/b.jsonl": "file",
        "https://h/x?token=1": "webhook",
    }
    kinds |= {"parquet:///a?every=5": "parquet", "s3://b/c?region=x&megabytes=1": "parquet"}
    for url, kind in kinds.items():
        found = parse(url)
        assert isinstance(found, ExportAddress)
        assert found.kind == kind


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:secret@host/x",
        "/a/file",
        "changes.jsonl",
        "nothing",
        "s4://x",
        "stdout:x",
        "http://user:secret@[x",
    ],
)
def test_an_unknown_address_lists_what_is_known(url: str) -> None:
    with pytest.raises(ValueError, match=r"use nats://HOST:PORT/STREAM, https://") as raised:
        parse(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "hosts",
    [
        "h:x",
        "h:99999",
        "h:0",
        ":4222",
        "h,",
        ",h",
        "h:4222,i:y",
        "[::1",
        "user:secret@h:x",
        "user:secret@h\u2100",
        "user:12#secret@h",
        "user:12?secret@h",
    ],
)
def test_the_hosts_of_a_queue_have_ports_that_are_numbers(hosts: str) -> None:
    with pytest.raises(ValueError, match="use nats://HOST:PORT/STREAM") as raised:
        parse(f"nats://{hosts}/S")
    assert "secret" not in str(raised.value)
    servers = parse("nats://user:secret@[::1]:4222,h,10.0.0.1:1/S")
    assert isinstance(servers, QueueAddress) and servers.hosts == "[::1]:4222, h, 10.0.0.1:1"


@pytest.mark.parametrize(
    "url",
    [
        "file://host/a",
        "file://a.jsonl",
        "file:///a/",
        "file:a",
        "file:///a%00b",
        "file:///a%0Ab",
        "file:///a?every=60",
        "file:///a?",
        "file:///a#b",
    ],
)
def test_the_path_of_a_file_is_absolute(url: str) -> None:
    with pytest.raises(ValueError, match="use file:///ABSOLUTE/PATH"):
        parse(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("parquet://a/b", "use parquet:///DIRECTORY"),
        ("parquet:///", "use parquet:///DIRECTORY"),
        ("parquet:///a?region=x", "use parquet:///DIRECTORY"),
        ("parquet:///a?every=0", "every and megabytes"),
        ("parquet:///a?megabytes=secret", "every and megabytes"),
        ("parquet:///a%00b", "use parquet:///DIRECTORY"),
        ("parquet:///a#b", "use parquet:///DIRECTORY"),
        ("s3:///a", "use s3://BUCKET"),
        ("s3://a/b%00", "use s3://BUCKET"),
        ("s3://a/b#c", "use s3://BUCKET"),
        ("s3://key:a/secret@bucket/x", "%2F for a slash of a key"),
        ("s3://key:secret?b@bucket/x", "%2F for a slash of a key"),
        ("s3://key:secret#b@bucket/x", "%2F for a slash of a key"),
    ],
)
def test_the_address_of_parquet_files_is_checked(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        parse(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://h/x", "https://user:secret@h/x", "https://"])
def test_the_url_of_a_webhook_is_one_of_alerts(url: str) -> None:
    with pytest.raises(ValueError, match="the address of the webhook is not valid: the URL") as raised:
        parse(url)
    assert "secret" not in str(raised.value)


def test_each_sink_of_a_log_has_a_slot_of_its_own() -> None:
    urls = [
        "-",
        "https://h/x",
        "https://h/y",
        "https://h:444/x",
        "parquet:///a",
        "s3://a",
        "s3://a/b",
        "file:///a/b.jsonl",
        "file:///a/c.jsonl",
    ]
    logs = ["bemi_shop_12345678", "bemi_other_12345678", "x" * 63]
    found = [parse(url) for url in urls]
    slots = [sink.slot(log) for sink in found for log in logs if isinstance(sink, ExportAddress)]
    assert len(set(slots)) == len(urls) * len(logs)
    assert all(len(slot) <= 63 and slot not in logs for slot in slots)
    secret = parse("s3://key:secret@a/b?region=x&every=5")
    assert isinstance(secret, ExportAddress)
    assert (secret.identity, secret.export.name) == (parse("s3://a/b")[1], "s3://a/b")
    assert parse("s3://key:a%2Fsecret@a/b")[1] == parse("s3://a/b")[1]
    assert parse("https://h/x?token=1")[1] == parse("https://h/x?token=2")[1]
    assert parse("file:///a/../a//b.jsonl")[1] == parse("file:///a/b.jsonl")[1]
