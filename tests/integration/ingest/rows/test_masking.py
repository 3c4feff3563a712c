# ruff: noqa: S608 - the secrets are the literals that are looked for
"""Values that must not be kept are in no row, no context, no dead letter, no file and no line of a log."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection

from bemi_django import bound_context
from bemi_django.ingest.dead_letter_retry import retry
from bemi_django.masking import words
from bemi_django.masking.actions import hashed
from bemi_django.masking.flat_types import FLAT_TYPES
from bemi_django.masking.settings import rules_of
from bemi_django.models import Change, DeadLetter
from tests.support.cluster import Cluster
from tests.support.exporting import Sink
from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import Drain, Pipeline
from tests.support.receiver import receiving
from tests.support.roles import OWNER

KEY = "a key of the tests, of 16 bytes or more"

#: One secret for each way into the log; all of them begin alike, so that none is overlooked. No part of it
#: is a word that means a secret, by which a statement would be recognised.
MARK = "zqHidden"
#: What the log holds, which shows that the search finds what is there.
CONTROL = "zqControl"


def secret(way: str) -> str:
    return f"{MARK}-{way}-{'9x7' * 6}"


def forms(text: str) -> list[bytes]:
    """The forms in which a text may be in a file: plain, hexadecimal, base64 at any offset, escaped."""
    plain = text.encode()
    found = [plain, plain.hex().encode(), plain.hex().upper().encode()]
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + plain)
        # The ends depend on what is beside the text.
        found.append(encoded[4 if offset else 0 : -4])
    found.append("".join(f"\\u{ord(character):04x}" for character in text).encode())
    return found


def hits(text: str, haystacks: dict[str, bytes]) -> list[str]:
    return [name for name, data in haystacks.items() if any(form in data for form in forms(text))]


ACCOUNT = """
CREATE TYPE plan AS ENUM ('free', 'paid');
CREATE DOMAIN word AS text;
CREATE DOMAIN document AS jsonb;
CREATE TYPE badge AS (holder text, "doorPwd" text);
CREATE DOMAIN worn AS badge;
CREATE TYPE gate AS (place text, worn worn, log badge[]);
CREATE TABLE account (id int PRIMARY KEY, login text, password text, card text, email text, pin int,
    data jsonb, raw json, diary text, plan plan, plans plan[], words word[], more document,
    gate gate, badges worn[]);
ALTER TABLE account REPLICA IDENTITY FULL;
CREATE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON account
    FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1();
CREATE TABLE api_session (token text PRIMARY KEY, account_id int REFERENCES account);
ALTER TABLE api_session REPLICA IDENTITY FULL;
CREATE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON api_session
    FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1();
"""
RULES = {
    "account.card": "partial",
    "account.email": "hash",
    "account.pin": "hash",
    "account.data->card->number": "drop",
    "account.raw->**->key": "drop",
    "account.diary": "encrypt",
    # It says nothing of columns that have no keys in them, such as those of primary keys.
    "*.*->**->iban": "drop",
    "account.more->**-><secret>": "drop",
    "context->mail": "hash",
}


MASKED = ["password", "card", "email", "pin", "data", "raw", "diary", "more", "gate", "badges"]


@contextmanager
def accounts(trail: LoadPipeline) -> Iterator[None]:
    """Have the tables on the source in a block, masked by RULES."""
    trail.source.run(f"SET ROLE {OWNER}")
    try:
        trail.source.run(ACCOUNT)
        trail.source.run("ALTER PUBLICATION bemi ADD TABLE account, api_session")
        trail.config = trail.config._replace(masking=rules_of(RULES, KEY, None, KEY))
        yield
    finally:
        trail.source.run("RESET ROLE")
        trail.source.run("DROP TABLE IF EXISTS api_session, account")
        trail.source.run("DROP TYPE IF EXISTS plan; DROP DOMAIN IF EXISTS word, document")
        trail.source.run("DROP TYPE IF EXISTS gate; DROP DOMAIN IF EXISTS worn; DROP TYPE IF EXISTS badge")
        trail.log.run("DELETE FROM _bemi.subject_keys")


@pytest.fixture
def masked(trail: LoadPipeline) -> Iterator[LoadPipeline]:
    with accounts(trail):
        yield trail


def files_of(cluster: Cluster) -> dict[str, bytes]:
    """Everything in the directory of a server, after a checkpoint."""
    cluster.run("CHECKPOINT")
    found = {}
    for path in cluster.directory.rglob("*"):
        try:
            found[str(path)] = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue
    return found


def write_secrets(cluster: Cluster) -> list[str]:
    """Send a secret by each way, and return the ways."""
    ways = ["literal", "escaped", "dollar", "parameter", "copy", "context", "setting", "invalid", "function",
            "do", "cte", "update", "json", "raw", "card", "email", "key", "letter", "toast", "old",
            "statements", "diary", "execute", "tagged", "unicode", "continued", "cast", "conflict", "comment",
            "prepared", "array", "cursor", "merge", "nested", "hashed", "row", "rows", "field"]  # fmt: skip
    s = {way: secret(way) for way in ways}
    run = cluster.run
    run(f"INSERT INTO account (id, login, password) VALUES (1, '{CONTROL}', '{s['literal']}')")
    run(f"INSERT INTO account VALUES (2, 'b', E'{s['escaped']}\\'x')")
    run(f"INSERT INTO account VALUES (3, 'c', $q${s['dollar']}$q$)")
    run("INSERT INTO account (id, password) VALUES (4, %s)", [s["parameter"]])
    context = json.dumps({"user": CONTROL, "deep": {"apiKey": s["context"]}, "mail": s["email"]})
    run(f"/*Bemi {context} Bemi*/ INSERT INTO account (id) VALUES (5)")
    run("BEGIN; SELECT set_config('bemi.context', '{\"password\": \"" + s["setting"] + "\"}', true); "
        "INSERT INTO account (id) VALUES (6); COMMIT")  # fmt: skip
    run("SELECT pg_logical_emit_message(true, '_bemi', '{\"token\": \"" + s["invalid"] + "\", no JSON')")
    run("CREATE FUNCTION put(t text) RETURNS void LANGUAGE sql AS 'INSERT INTO load VALUES (1, 1); "
        "INSERT INTO account (id, password) VALUES (7, t)'")  # fmt: skip
    run(f"SELECT put('{s['function']}')")
    run("DELETE FROM load WHERE id = 1")
    run("DELETE FROM account WHERE id = 7")
    run(f"/* of a view */ SELECT put('{s['tagged']}')")
    run("DROP FUNCTION put")
    run("PREPARE add (text) AS WITH one AS (INSERT INTO load VALUES (5, 5)) "
        "INSERT INTO account VALUES (18, 'x', $1)")  # fmt: skip
    run(f"EXECUTE add('{s['execute']}')")
    run("DEALLOCATE add")
    run(f"DO $$ BEGIN INSERT INTO account (id, password) VALUES (8, '{s['do']}'); END $$")
    run(f"WITH one AS (INSERT INTO load VALUES (2, 2)) INSERT INTO account VALUES (9, 'x', '{s['cte']}')")
    run(f"UPDATE account SET password = '{s['update']}' WHERE id = 1")
    run(
        "INSERT INTO account (id, data) VALUES (10, %s)",
        [json.dumps({"card": {"number": s["json"], "n": 5}})],
    )
    run("INSERT INTO account (id, raw) VALUES (11, %s)", [json.dumps([{"a": {"key": s["raw"]}}])])
    run(
        "INSERT INTO account (id, more, plans, words) VALUES (22, %s, '{free}', '{token}')",
        [json.dumps({"list": [{"apiKey": s["nested"]}], "x-token": {"a": s["nested"]}, "tokens_used": 1})],
    )
    run(f"INSERT INTO account (id, gate, badges) SELECT 23, ROW('x', ('ann', '{s['row']}'), "
        f"ARRAY[('bob', '{s['row']}')::badge])::gate, ARRAY[('cy', '{s['rows']}')::worn]")  # fmt: skip
    run(f"UPDATE account SET gate.worn = ('dan', '{s['field']}') WHERE id = 23")
    run(f"INSERT INTO load VALUES (6, length(md5('{s['hashed']}')))")
    run("INSERT INTO account (id, card, email, pin) VALUES (12, %s, %s, 1234567)", [s["card"], s["email"]])
    run("INSERT INTO api_session VALUES (%s, 12)", [s["key"]])
    # jsonb takes no NUL, so this row becomes a dead letter.
    run("INSERT INTO account (id, password, raw) VALUES (13, %s, %s)", [s["letter"], '{"b": "\\u0000"}'])
    run(
        "INSERT INTO account (id, password, email) VALUES (14, %s, %s)",
        [s["toast"] * 2000, s["toast"] * 2000],
    )
    run("UPDATE account SET login = 'y' WHERE id = 14")
    run(f"INSERT INTO load VALUES (3, 3); INSERT INTO account VALUES (15, 'z', '{s['statements']}')")
    run(f"UPDATE account SET password = 'x' WHERE password = '{s['old']}'")
    run("INSERT INTO account (id, diary) VALUES (17, %s)", [s["diary"]])
    run("UPDATE account SET login = 'x' WHERE id = 17")
    with psycopg2.connect(**cluster.parameters) as copying, copying.cursor() as cursor:
        cursor.copy_expert("COPY account (id, password) FROM STDIN", io.StringIO(f"16\t{s['copy']}\n"))
    copying.close()
    run("DELETE FROM account WHERE id = 2")
    run(f"UPDATE account SET password = U&'\\0061{s['unicode']}' WHERE id = 1")
    run(f"UPDATE account SET password = 'a' -- {s['comment']}\n '{s['continued']}' WHERE id = 1")
    run(f"INSERT INTO account SELECT 19, 'x', CAST('{s['cast']}' AS varchar)::text")
    run("INSERT INTO account AS a VALUES (1, 'x') ON CONFLICT (id) DO UPDATE "
        f"SET password = excluded.login || '{s['conflict']}'")  # fmt: skip
    run(f"PREPARE put AS INSERT INTO account VALUES (20, 'x', '{s['prepared']}')")
    run("EXECUTE put")
    run("DEALLOCATE put")
    run(f"INSERT INTO account SELECT 21, unnest, unnest FROM unnest(ARRAY['x']) WHERE '{s['array']}' <> ''")
    run("BEGIN; DECLARE c CURSOR FOR SELECT * FROM account WHERE id = 1 FOR UPDATE; FETCH c; "
        f"UPDATE account SET password = '{s['cursor']}' WHERE CURRENT OF c; COMMIT")  # fmt: skip
    if int(cluster.one("SHOW server_version_num")) >= 150_000:
        run(f"MERGE INTO account a USING (VALUES (1, '{s['merge']}')) v ON a.id = v.column1 "
            "WHEN MATCHED THEN UPDATE SET password = v.column2")  # fmt: skip
    return ways


def test_no_secret_reaches_the_server_of_the_log(
    masked: LoadPipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ways = write_secrets(masked.source)
    masked.run()
    letters = masked.log.run("SELECT reason, message, origin::text FROM _bemi.dead_letters ORDER BY id")
    assert [reason for reason, *_ in letters] == [
        "the context is no JSON object",
        "after.raw: not accepted as jsonb",
    ]
    retry(masked.config._replace(source=masked.source.parameters, destination=masked.log.parameters))
    exported = json.dumps(masked.log.run("SELECT to_jsonb(c)::text FROM changes c"))
    logged = "\n".join(record.getMessage() for record in caplog.records)
    archive(masked.log, tmp_path)
    archived = texts_of(tmp_path)
    assert {name.split()[0] for name in hits(CONTROL, archived)} >= {"rows", "pages"}
    haystacks = {
        **files_of(masked.log),
        **archived,
        "export": exported.encode(),
        "our logs": logged.encode(),
    }
    assert {way: found for way in ways if (found := hits(secret(way), haystacks))} == {}
    # Nor any part of them: all begin alike.
    assert hits(f"{MARK}-", haystacks) == []
    assert len(hits(CONTROL, haystacks)) > 2
    rows = dict(
        masked.log.run("SELECT primary_key, after FROM changes WHERE \"table\" = 'account' ORDER BY id")
    )
    assert rows["1"]["login"] == CONTROL
    assert "password" not in rows["1"]
    assert rows["10"]["data"] == {"card": {"n": 5}}
    assert rows["11"]["raw"] == [{"a": {}}]
    assert rows["22"]["more"] == {"list": [{}], "tokens_used": 1}
    assert (rows["22"]["plans"], rows["22"]["words"]) == (["free"], ["token"])
    assert rows["23"]["gate"] == {"place": "x", "worn": {"holder": "dan"}, "log": [{"holder": "bob"}]}
    assert rows["23"]["badges"] == [{"holder": "cy"}]
    assert rows["12"]["card"] == "…" + secret("card")[-4:]
    assert rows["12"]["email"] == json.loads(hashed(json.dumps(secret("email")).encode(), KEY.encode()))
    assert rows["12"]["pin"] == json.loads(hashed(b"1234567", KEY.encode()))
    assert rows["17"]["diary"].startswith("encrypted:")
    ((keys,),) = masked.log.run("SELECT count(*) FROM _bemi.subject_keys")
    assert keys == 1
    unavailable = masked.log.run(
        "SELECT DISTINCT unavailable -> 'masked' FROM changes WHERE \"table\" = 'account'"
    )
    assert unavailable == [(MASKED,)]


_BESIDE = """
CREATE FUNCTION beside() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    INSERT INTO load SELECT coalesce(max(id), 0) + 1, 1 FROM load;
    IF TG_TABLE_NAME = 'entry' THEN INSERT INTO account (id, password) VALUES (NEW.id, NEW.word); END IF;
    RETURN NEW;
END$$;
CREATE VIEW entry AS SELECT id, password AS word FROM account;
CREATE VIEW shown AS SELECT id, password AS word FROM account;
CREATE TRIGGER enter INSTEAD OF INSERT ON entry FOR EACH ROW EXECUTE FUNCTION beside();
CREATE TRIGGER "Before ours" BEFORE INSERT ON account FOR EACH STATEMENT EXECUTE FUNCTION beside();
CREATE TABLE "odd table" (id int PRIMARY KEY, "api key" text);
ALTER PUBLICATION bemi ADD TABLE "odd table";
CREATE TABLE whole (id int, note text) PARTITION BY RANGE (id);
CREATE TABLE middle PARTITION OF whole FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
CREATE TABLE leaf PARTITION OF middle FOR VALUES FROM (0) TO (100);
CREATE TRIGGER beside AFTER INSERT ON leaf FOR EACH ROW EXECUTE FUNCTION beside();
CREATE TABLE parent (id int, note text);
CREATE VIEW old AS SELECT id, note AS word FROM parent;
CREATE TABLE child () INHERITS (parent);
INSERT INTO child VALUES (1, 'none');
CREATE TRIGGER beside AFTER UPDATE ON child FOR EACH ROW EXECUTE FUNCTION beside();
CREATE VIEW blind AS SELECT 0 AS id, ''::text AS word;
CREATE TRIGGER enter INSTEAD OF INSERT ON blind FOR EACH ROW EXECUTE FUNCTION beside();
CREATE VIEW over AS SELECT * FROM blind;
"""


@pytest.mark.parametrize(
    "written",
    [
        "INSERT INTO entry VALUES (1, '{}')",
        "INSERT INTO shown VALUES (1, '{}')",
        "INSERT INTO account VALUES (1, 'x', '{}')",
        "INSERT INTO load VALUES (7, 7); INSERT INTO \"odd table\" VALUES (1, '{}')",
        "INSERT INTO middle VALUES (1, '{}')",
        "INSERT INTO over VALUES (1, '{}')",
        "UPDATE parent SET note = '{}'",
        "UPDATE old SET word = '{}'",
    ],
)
def test_rows_of_other_tables_have_no_text_of_what_is_masked(masked: LoadPipeline, written: str) -> None:
    """Also if they come first: then nothing that came before them says which tables are written to."""
    run = masked.source.run
    masks = {"leaf.*": "drop", "child.*": "drop"}
    masked.config = masked.config._replace(masking=rules_of(masks, KEY))
    run(_BESIDE)
    try:
        run(written.format(secret("beside")))
        run("INSERT INTO load (id, n) VALUES (90, 4711)")
        masked.run()
        contexts = masked.log.run("SELECT context::text FROM changes WHERE \"table\" = 'load' ORDER BY id")
        assert len(contexts) >= 2
        assert MARK not in repr(contexts)
        assert "VALUES (90, 4711)" in contexts[-1][0]
    finally:
        run("DROP VIEW over, blind, old, entry, shown; DROP FUNCTION beside CASCADE")
        run('DROP TABLE "odd table", whole, child, parent')


def test_what_was_generated_from_a_masked_column_is_hashed_later(brief_drain: Drain) -> None:
    """The worker comes when it is no longer generated, and computes it by what was noted."""
    rules = rules_of({"sealed.word": "hash"}, KEY)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE sealed (id int PRIMARY KEY, word text, "
            "seal text GENERATED ALWAYS AS (md5(word)) STORED, "
            "stamp text GENERATED ALWAYS AS (upper(word)) STORED)"
        )
        try:
            call_command("bemi", "sync", stdout=io.StringIO())
            cursor.execute("INSERT INTO sealed VALUES (1, 'x')")
            cursor.execute("ALTER TABLE sealed DROP seal, ALTER stamp DROP EXPRESSION")
            pipeline = Pipeline.of_project("bemi_test")
            pipeline.run(pipeline.config._replace(masking=rules))
        finally:
            cursor.execute("DROP TABLE sealed")
    texts = {"word": "x", "seal": "9dd4e461268c8034f5c8564e155c67a6", "stamp": "X"}
    kept = {name: json.loads(hashed(json.dumps(text).encode(), KEY.encode())) for name, text in texts.items()}
    assert Change.objects.get(table="sealed").after == {"id": 1, **kept}


def archive(cluster: Cluster, place: Path) -> None:
    """Write the month of a log to an archive."""
    from bemi_django.archive.live_log import LiveLog
    from bemi_django.archive.location import open_location
    from bemi_django.archive.month import month_of
    from bemi_django.archive.storing import store

    reading = psycopg2.connect(**cluster.parameters)
    reading.autocommit = True
    with closing(reading):
        log = LiveLog(reading)
        # The present month may be another one than that in which the rows were written.
        month = month_of(cluster.one("SELECT min(committed_at) FROM changes"))
        store(log, open_location(str(place)), month, lambda month, part: None)


def texts_of(place: Path) -> dict[str, bytes]:
    """Everything in a directory; of Parquet files also the rows as text, and the pages decompressed."""
    from pyarrow import parquet

    found = {}
    for path in sorted(filter(Path.is_file, place.rglob("*"))):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            rows = parquet.read_table(path, partitioning=None).to_pylist()
            found[f"rows of {path}"] = repr(rows).encode()
            found[f"pages of {path}"] = b"".join(pages_of(data))
        found[str(path)] = data
    return found


def pages_of(data: bytes) -> Iterator[bytes]:
    """Every page of a Parquet file, also those of dictionaries, without the compression."""
    from pyarrow import BufferReader, CompressedInputStream

    for frame in re.finditer(rb"\x28\xb5\x2f\xfd", data):
        stream = CompressedInputStream(BufferReader(data[frame.start() :]), "zstd")
        # Behind the end of a page comes the head of the next one, which is not compressed.
        with suppress(OSError):
            while byte := stream.read(1):
                yield byte


def test_no_secret_reaches_a_sink(
    masked: LoadPipeline, tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("pyarrow")
    caplog.set_level(logging.DEBUG)
    settings.BEMI_WEBHOOK_HTTP, settings.BEMI_WEBHOOK_NETWORKS = True, ["127.0.0.0/8"]
    settings.BEMI_SINK_SECRET, settings.BEMI_SINK_ATTEMPTS = "a secret of the tests", 1
    with receiving() as receiver:
        urls = (f"file://{tmp_path}/changes.jsonl", f"parquet://{tmp_path}/files", receiver.url)
        sinks = [Sink(masked, url, list) for url in urls]
        try:
            for sink in sinks:
                sink.run()
            ways = write_secrets(masked.source)
            # What is refused is kept, and a redirect is followed to no other server.
            receiver.statuses[:] = [422, 302]
            assert len({sink.run() for sink in sinks}) == 1
        finally:
            masked.source.run("RESET ROLE")
            for sink in sinks:
                sink.drop()
        sent = {f"request {number}": one.body for number, one in enumerate(receiver.received)}
        headers = repr([one.headers for one in receiver.received]).encode()
    letters = masked.log.run("SELECT reason, message, origin::text FROM _bemi.dead_letters ORDER BY id")
    assert any("the server answered 422" in reason for reason, *_ in letters)
    assert {one.path.partition("?")[0] for one in receiver.received} == {"/hook"}
    logged = "\n".join(record.getMessage() for record in caplog.records)
    kept = b"".join(part for _, message, origin in letters for part in (bytes(message), origin.encode()))
    others = {"letters": kept, "headers": headers, "our logs": logged.encode()}
    files = texts_of(tmp_path)
    haystacks = {**files, **sent, **others}
    assert hits(f"{MARK}-", haystacks) == []
    assert {way: found for way in ways if (found := hits(secret(way), haystacks))} == {}
    # Each of them has got the changes.
    assert hits(CONTROL, sent)
    assert {name.split()[0] for name in hits(CONTROL, files)} >= {"rows", "pages"}
    assert {Path(name).suffix for name in hits(CONTROL, files)} == {".jsonl", ".parquet"}
    masked.log.run("DELETE FROM _bemi.dead_letters")


def test_a_key_is_hashed_wherever_it_stands(masked: LoadPipeline) -> None:
    masked.source.run("INSERT INTO account (id) VALUES (1)")
    masked.source.run("INSERT INTO api_session VALUES ('old-token', 1)")
    masked.source.run("UPDATE api_session SET token = 'new-token'")
    masked.source.run("DELETE FROM api_session")
    masked.run()
    old, new = (
        json.loads(hashed(json.dumps(token).encode(), KEY.encode())) for token in ("old-token", "new-token")
    )
    query = (
        'SELECT primary_key, previous_primary_key, before, after FROM changes WHERE "table" = %s ORDER BY id'
    )
    assert masked.log.run(query, ["api_session"]) == [
        (old, None, {}, {"token": old, "account_id": 1}),
        (new, old, {"token": old, "account_id": 1}, {"token": new, "account_id": 1}),
        (new, None, {"token": new, "account_id": 1}, {}),
    ]


def test_what_refers_to_a_masked_key_is_hashed(masked: LoadPipeline) -> None:
    cluster = masked.source
    cluster.run("CREATE TABLE device (owner text PRIMARY KEY REFERENCES api_session)")
    cluster.run("CREATE TABLE visit (id int PRIMARY KEY, device_id text REFERENCES device)")
    try:
        cluster.run("ALTER PUBLICATION bemi ADD TABLE device, visit")
        cluster.run("INSERT INTO api_session VALUES ('the-token')")
        cluster.run("INSERT INTO device VALUES ('the-token')")
        cluster.run("INSERT INTO visit VALUES (1, 'the-token')")
        masked.run()
        kept = json.loads(hashed(json.dumps("the-token").encode(), KEY.encode()))
        rows = masked.log.run(
            'SELECT "table", primary_key, after FROM changes WHERE "table" IN (%s, %s) ORDER BY id',
            ["device", "visit"],
        )
        assert rows == [
            ("device", kept, {"owner": kept}),
            ("visit", "1", {"id": 1, "device_id": kept}),
        ]
    finally:
        cluster.run("DROP TABLE visit, device")


def explode(value: str) -> str:
    raise ValueError(f"not {value}")


def test_a_function_that_fails_stops_nothing(masked: LoadPipeline, caplog: pytest.LogCaptureFixture) -> None:
    masked.config = masked.config._replace(
        masking=rules_of({"account.login": explode, "account.email": str.upper}, KEY)
    )
    masked.source.run(
        "INSERT INTO account (id, login, email) VALUES (1, 'row-value', 'a'), (2, 'row-value', 'b')"
    )
    masked.run()
    query = "SELECT after -> 'login', after ->> 'email' FROM changes WHERE \"table\" = 'account' ORDER BY id"
    assert masked.log.run(query) == [(None, "A"), (None, "B")]
    assert masked.counters()["values dropped because their mask failed"] == 2
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("a mask")]
    assert len(told) == 1
    assert "raised ValueError" in told[0]


def test_both_ways_of_a_row_mask_alike(masked: LoadPipeline) -> None:
    """Rows with a value that was not sent take the long way."""
    large = "row-value" * 2000
    masked.source.run("ALTER TABLE account ALTER login SET STORAGE EXTERNAL")
    masked.source.run(
        "INSERT INTO account (id, login, password, card) VALUES (1, %s, 'x', '12345678')", [large]
    )
    masked.source.run("UPDATE account SET diary = 'of today'")
    masked.source.run("ALTER TABLE account REPLICA IDENTITY DEFAULT")
    masked.source.run("UPDATE account SET password = 'y'")
    masked.run()
    query = "SELECT before, after, unavailable FROM changes WHERE \"table\" = 'account' ORDER BY id"
    _, (_, first, _), (_, second, unavailable) = masked.log.run(query)
    assert {**second, "login": large} == first
    assert first["diary"].startswith("encrypted:")
    assert "password" not in first
    assert unavailable["masked"] == MASKED


NAMES_BEFORE = ("", "my_", "my", "X-", "is_", "Has ", "-", "apiA", "userA B")
NAMES_AFTER = ("", "_hash", "Digest", "_at", "s_used", "_", "'\"", "%s{0}", "$")


def test_secrets_of_the_orm_and_of_sqlalchemy_are_in_no_row(drain: Drain, engine: Any) -> None:
    from sqlalchemy import text

    with bound_context(password=secret("bound"), user={"token": secret("nested")}):
        user = User.objects.create_user("ann", password=secret("orm"))
    with engine.begin() as sql:
        sql.execute(text(f"UPDATE auth_user SET password = '{secret('literal')}' WHERE id = {user.pk}"))
        sql.execute(text("UPDATE auth_user SET password = :p"), {"p": secret("bound-parameter")})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE auth_user SET password = %s, last_name = 'x'", [secret("raw")])
    user.delete()
    changes = [change for change in drain() if change.table == "auth_user"]
    assert [change.operation for change in changes] == ["CREATE", "UPDATE", "UPDATE", "UPDATE", "DELETE"]
    haystacks = {
        "changes": json.dumps(list(Change.objects.values()), default=str).encode(),
        "letters": repr(list(DeadLetter.objects.values())).encode(),
    }
    stored = {user.password, MARK}
    assert [text for text in stored if hits(text, haystacks)] == []
    assert all("password" not in {**change.before, **change.after} for change in changes)
    assert changes[0].context["password"] == "***"


def test_the_server_tells_secret_names_by_the_same_rules(db: None) -> None:
    names = [
        f"{before}{word}{after}" for word in words.WORDS for before in NAMES_BEFORE for after in NAMES_AFTER
    ]
    with connection.cursor() as cursor:
        sql = words.SQL.replace("{0}", 'n.name COLLATE "C"')
        cursor.execute(f"SELECT n.name FROM unnest(%s::text[]) n (name) WHERE {sql}", [names])
        found = [name for (name,) in cursor.fetchall()]
    assert found == [name for name in names if words.is_secret(name)]
    assert len(words.WORDS) < len(found) < len(names)


def test_all_types_of_the_server_without_keys_are_known(db: None) -> None:
    """Those that only the server uses do not count."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT t.oid::int8 FROM pg_type t
            LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
            WHERE t.oid < 16384 AND t.typtype IN ('b', 'r', 'm')
                AND t.typname !~ '^pg_(node|nd|dep|mcv|brin)' AND coalesce(e.typtype, 'b') IN ('b', 'r', 'm')
                AND coalesce(e.oid, t.oid) NOT IN ('json'::regtype, 'jsonb'::regtype)
        """)
        assert {oid for (oid,) in cursor.fetchall()} == FLAT_TYPES
