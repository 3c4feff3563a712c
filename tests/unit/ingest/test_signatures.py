"""What an application has signed is known by its bytes, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bemi_django.capture import comment, context_masks, signing
from bemi_django.events.emission import message
from bemi_django.ingest.protocol.messages import Begin, Insert, Relation
from bemi_django.ingest.stitching.event_message import EventReader
from bemi_django.ingest.stitching.provenance import Provenance
from bemi_django.ingest.stitching.signatures import Signatures
from bemi_django.ingest.stitching.stitcher import NO_MASKS, Stitcher
from bemi_django.ingest.stitching.validation import MAX_BYTES
from bemi_django.masking.rules import NOTHING
from bemi_django.wire import RESERVED_KEYS
from bemi_django.wire.defaults import CONTEXT_AGE
from bemi_django.wire.signature import COMMENT_FORM, EVENT_FORM, SETTING_FORM, signature
from tests.support.stitching import feed

KEY, OLD, OTHER = b"k" * 32, b"o" * 32, b"x" * 32
TABLE = Relation(7, "public", "t", ())
SECONDS = 1_795_915_520
#: The same moment, in microseconds since 2000.
COMMITTED = (SECONDS - 946_684_800) * 1_000_000
SQL = "UPDATE \"t\" SET a = %s, b = '50%' -- \\ é"
APP = b"'app' 'app'4711 10.0.0.1 'gunicorn'"


@pytest.fixture(autouse=True)
def application(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that signs, at a known time."""
    monkeypatch.setattr("bemi_django.capture.signing.time.time", lambda: SECONDS + 0.9)
    for module, names in ((context_masks, ("_read_rules", "_rules")), (signing, ("_read_keys", "_keys"))):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    context_masks.use(lambda: NOTHING)
    signing.use(lambda: (KEY, OLD))


def sent(annotated: str) -> bytes:
    """Return the context of a comment as the capture trigger writes it to the WAL."""
    content = annotated.removeprefix("/*Bemi ").removesuffix(" Bemi*/ ")
    return content.replace("\\u0022", '\\"').replace("\\u0025", "%").encode()


def sent_setting(context: dict[str, Any], sql: str = SQL) -> bytes:
    """Return the context of a setting as the capture trigger writes it, with the statement."""
    setting = comment.context_setting(context)[:-1].replace("\\u0022", '\\"').replace("\\u0025", "%")
    return f'{setting},"SQL": {json.dumps(sql)}}}'.encode()


def stored(
    *contents: bytes,
    keys: tuple[bytes, ...] = (KEY,),
    committed_at: int = COMMITTED,
    is_recorded: bool = False,
    age: int = CONTEXT_AGE,
) -> list[Any]:
    """Return the context of a row behind each message of one transaction."""
    stitcher = Stitcher(lambda header: {7}, provenance=Provenance(is_recorded, Signatures(keys, age)))
    feed(stitcher, Begin(8, committed_at, 1))
    found = []
    for content in contents:
        stitcher.follow(content)
        (change,) = feed(stitcher, Insert(TABLE, []))
        found.append(json.loads(change.context))
    return found


CONTEXT = {"user_id": 7, "path": '/a "b" 50%', "why": "\\u0022 é\\", "n": {"x": 1, "SQL": 2}}


def test_a_context_that_was_signed_is_stored_without_its_signature() -> None:
    content = sent(comment.context_comment(SQL, CONTEXT))
    assert b'"_bemi_signature": "1795915520.' in content
    assert stored(b"7" + content, APP + b"7" + content) == [{**CONTEXT, "SQL": SQL}] * 2
    assert stored(b"7" + sent_setting(CONTEXT)) == [{**CONTEXT, "SQL": SQL}]


def test_later_statements_of_a_transaction_have_signatures_of_their_own() -> None:
    first, second = (sent(comment.context_comment(sql, CONTEXT)) for sql in (SQL, "DELETE FROM t"))
    # The trigger sends what stands behind the first such pair, also if that is one of a value.
    rest = second.partition(b',"SQL": ')[2]
    contexts = stored(b"7" + first, b"7+" + rest, b"7")
    assert contexts == [{**CONTEXT, "SQL": sql} for sql in (SQL, "DELETE FROM t", "DELETE FROM t")]
    (_, tampered) = stored(b"7" + first, b"7+" + rest.replace(b"DELETE", b"UPDATE"))
    assert tampered["unverified"] is True and tampered["SQL"] == "UPDATE FROM t"
    # Behind a setting the database says what the statements are.
    assert stored(b"7" + sent_setting({"a": 1}), b'7+"b"}')[1] == {"a": 1, "SQL": "b"}


texts = st.text() | st.sampled_from(
    ["*/", "%s", "'", "\\", '"', ":name", "$1", "\0", ',"SQL": ', "\\u0022", "{}"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=60)
@given(
    st.dictionaries(texts.filter(lambda key: key not in RESERVED_KEYS), values, min_size=1, max_size=3), texts
)
def test_any_context_of_an_application_is_verified(context: dict[str, Any], sql: str) -> None:
    for content in (sent(comment.context_comment(sql, context)), sent_setting(context)):
        (found,) = stored(b"7" + content)
        assert "unverified" not in found and "_bemi_signature" not in found and "SQL" in found


def forgeries() -> dict[str, bytes]:
    signed = sent(comment.context_comment(SQL, CONTEXT))
    setting = sent_setting({"user_id": 7})
    code = signed[-len('"1795915520.9qRgvyXIo27f8dfooQbvhA"}') : -1]
    of_setting = setting.partition(b',"SQL"')[0]
    signing.use(lambda: (OTHER,))
    of_other = sent(comment.context_comment(SQL, CONTEXT))
    return {
        "no signature": b'{"user_id": 7,"SQL": "x"}',
        "not of an object": b'["user_id", 7]',
        "another user": signed.replace(b'"user_id": 7', b'"user_id": 8'),
        "another statement": signed.replace(b"UPDATE", b"DELETE"),
        "one more value": signed.replace(b"{", b'{"x": 1, ', 1),
        "one more behind": signed[:-1] + b',"user_id": 8}',
        "another context": b'{"user_id": 8,"SQL": "x","_bemi_signature": ' + code + b"}",
        "another key": of_other,
        "another time": signed.replace(b"1795915520.", b"1795915521."),
        "a signature that is cut": signed.replace(code, code[:-2] + b'"'),
        "one that is longer": signed.replace(code, code[:-1] + b'A"'),
        "no text": b'{"user_id": 7,"SQL": "x","_bemi_signature": 1}',
        "of a setting, with a statement of the comment": of_setting + b"}",
        "of a comment, as a setting": signed[:-1] + b',"SQL": "x"}',
        "of a setting, and more": of_setting + b',"SQL": "x","user_id": 8}',
        "of a setting, and an object": of_setting + b',"SQL": {"x": "y"}}',
        "an escape of a backslash": signed.replace(rb"u0022", b'\\"'),
        "too much": signed.replace(b"{", b'{"x": "' + b"x" * MAX_BYTES + b'", ', 1),
        "a mark": b'{"user_id": 7, "unverified": false}',
    }


def test_what_was_not_signed_is_marked_and_kept() -> None:
    for what, content in forgeries().items():
        for message_content in (b"7" + content, APP + b"7" + content, content):
            (found,) = stored(message_content)
            assert found.pop("unverified", None) is True, what
            assert found and found.get("app_unverified", False) is False, what


def test_each_key_verifies_and_without_keys_nothing_is_marked() -> None:
    signing.use(lambda: (OLD,))
    of_old = b"7" + sent(comment.context_comment(SQL, CONTEXT))
    assert stored(of_old, keys=(KEY, OLD)) == [{**CONTEXT, "SQL": SQL}]
    (found,) = stored(of_old, keys=(KEY,))
    assert found["unverified"] is True
    assert stored(of_old, b'7{"a": 1}', keys=()) == [{**CONTEXT, "SQL": SQL}, {"a": 1}]
    # The key of the mark is reserved in any case.
    assert stored(b'7{"unverified": false}', keys=()) == [{"app_unverified": False}]


def test_without_a_key_the_comment_is_as_it_would_be_without_signatures() -> None:
    signing.use(tuple)
    assert comment.context_comment("x", {"a": 1}) == '/*Bemi {"a": 1,"SQL": "x"} Bemi*/ '
    assert comment.context_setting({"a": 1}) == '{"a": 1}'
    assert message("e", {}, None, "t", "1", "public").endswith('"table": "t", "key": "1"}')


@pytest.mark.parametrize("age", [CONTEXT_AGE, 300])
@pytest.mark.parametrize(("beyond", "is_verified"), [(0, True), (1, False)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_signature_is_worth_a_day_or_what_the_setting_says(
    age: int, beyond: int, sign: int, *, is_verified: bool
) -> None:
    content = b"7" + sent(comment.context_comment(SQL, CONTEXT))
    (found,) = stored(content, committed_at=COMMITTED + sign * (age + beyond) * 1_000_000, age=age)
    assert ("unverified" not in found) == is_verified


def test_who_is_nobody_to_the_application_claims_nothing() -> None:
    written = b'{"db_user": "app", "application_name": "psql","SQL": "x"}'
    (found,) = stored(APP + b"7" + written)
    assert found == {"db_user": "app", "application_name": "psql", "SQL": "x"}
    assert stored(b'7{"application_name": "x","SQL": "y"}', b"7{}") == [
        {"application_name": "x", "SQL": "y"}, {},
    ]  # fmt: skip
    # The database itself says who has logged in.
    for forged in (APP + b"7" + written.replace(b'"app"', b'"root"'), b"7" + written):
        assert stored(forged)[0]["unverified"] is True
    assert "unverified" not in stored(b"'caf\xe9' 'caf\xe9'1  ''7" + written)[0]


def event(*, keys: tuple[bytes, ...] = (KEY,), content: bytes | None = None, schema: str = "public") -> Any:
    rest = message("sent", {"user_id": 7}, {"to": "a\\b %"}, "t", "1", "public")
    if content is None:
        content = b'814000000000000{"schema": "%b", ' % schema.encode() + rest.encode()
    found = EventReader(NO_MASKS, signatures=Signatures(keys)).read(content, COMMITTED)
    return found.schema, json.loads(found.context)


def test_events_are_signed_too() -> None:
    context = {"event": "sent", "details": {"to": "a\\b %"}, "user_id": 7}
    assert event() == ("public", context)
    # What the application says of the schema is what was signed.
    assert event(schema="other") == ("public", context)
    signing.use(tuple)
    marked = {**context, "unverified": True}
    assert event() == ("public", marked) and event(keys=()) == ("public", context)


@pytest.mark.parametrize(
    ("part", "by"),
    [
        (b'"event": "sent"', b'"event": "paid"'),
        (b'"key": "1"', b'"key": "2"'),
        (b'"user_id": 7', b'"user_id": 8, "unverified": false'),
        (b'{"schema"', b'{"details": {}, "schema"'),
        (b'"public", "event"', b'"public", "key": "2", "event"'),
        (b"814000000000000", b'"'),
    ],
)
def test_an_event_that_was_changed_is_marked(part: bytes, by: bytes) -> None:
    rest = message("sent", {"user_id": 7}, None, "t", "1").encode()
    whole = b'814000000000000{"schema": "public", ' + rest
    assert "unverified" not in event(content=whole)[1] and part in whole
    found = event(content=whole.replace(part, by))[1]
    assert found["unverified"] is True and found.get("app_unverified", False) is False


@settings(max_examples=100)
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"7", b'{"a": 1', b'{"schema": "s", "event": "e"']),
    st.booleans(),
)
def test_nothing_that_is_written_fails(data: bytes, start: bytes, end: bool) -> None:
    rest = b',"_bemi_signature": "1795915520.9qRgvyXIo27f8dfooQbvhA"}' if end else b""
    content = start + data + rest
    assert isinstance(stored(content)[0], dict)
    EventReader(NO_MASKS, signatures=Signatures((KEY,))).read(content, COMMITTED)


def test_a_signature_of_one_form_is_none_of_another() -> None:
    forms = (COMMENT_FORM, SETTING_FORM, EVENT_FORM)
    assert len({signature(KEY, form, b"x", 1) for form in forms}) == 3
