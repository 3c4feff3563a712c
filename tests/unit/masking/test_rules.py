"""Which columns and keys are masked, by rules of a project and by names that mean secrets."""

from __future__ import annotations

import hmac
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bemi_django.masking.actions import Encryption, hashed
from bemi_django.masking.patterns import may_name, parse, path_matches
from bemi_django.masking.rules import DEFAULT, NOTHING, ColumnMask, Rules
from bemi_django.masking.settings import key_of, rules_of
from bemi_django.masking.words import TELLING, WORDS, is_secret

KEY = b"0123456789abcdef"


def rules(mask: dict[str, Any], key: bytes | None = KEY) -> Rules:
    return rules_of(mask, key)


def kept(found: Rules, column: str, value: str, keys: tuple[str, ...] = ()) -> str | None:
    """What is kept of a value of a column of ``public.people``; None if nothing is."""
    masks = found.of_table([("public", "people")], [column], keys)
    if column not in masks:
        return value
    mask = masks[column].mask
    return None if mask is None else mask(value.encode()).decode()


@pytest.mark.parametrize(
    "name",
    [*WORDS, "user_password", "reset_token", "apiKey", "X-API-Key", "accessToken", "passWord", "PassWord",
     "API_KEY", "client secret", "password_hash", "refreshToken", "django_session_data", f"{'x' * 999}_pwd"],
)  # fmt: skip
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert is_secret(name)
    assert any(part in name.lower() for part in TELLING)


@pytest.mark.parametrize(
    "name",
    ["password_changed_at", "tokens_used", "is_password", "has_token", "secretary", "token_count", "key",
     "id", "needs_otp", "cookie_consent", "tokenized", "email", "passwords_tried", "ssn_verified_at", ""],
)  # fmt: skip
def test_names_that_only_contain_such_a_word_are_not(name: str) -> None:
    assert not is_secret(name)


_SIGNS = st.sampled_from(["a", "b", ".", "*", "?", "[.]", "[!a]", "[]]", "["])


@given(
    st.lists(_SIGNS, min_size=3, max_size=6).map("".join),
    *[st.sampled_from(["a", "b", "a.b", "ab"])] * 2,
)
@example("hr.person*ssn", "person", "ssn")
@example("person[.]*.ssn", "person", "a.ssn")
@example("person?ssn.*", "person", "ssn.a")
@example("person.my.name", "person", "my.name")
def test_a_pattern_may_name_each_column_that_it_matches(pattern: str, table: str, column: str) -> None:
    if parse("*.*")._replace(name=pattern).matches("hr", table, column):
        assert may_name(pattern, column)


@pytest.mark.parametrize("pattern", ["person.ssn", "hr.person.ssn", "*.[!x]ssn", "*.ss?", "[.]ssn"])
def test_a_pattern_names_no_other_column(pattern: str) -> None:
    assert not may_name(pattern, "name") and not may_name(pattern, "xssn")


@given(st.sampled_from(WORDS), st.from_regex(r"[a-z]{1,8}", fullmatch=True))
def test_a_word_of_more_letters_is_another_word(word: str, letters: str) -> None:
    joined = letters + word
    assert is_secret(joined) == (joined in WORDS)
    assert is_secret(f"my_{word}")


@pytest.mark.parametrize(
    ("mask", "column", "value", "shown"),
    [
        ({}, "name", '"Ann"', '"Ann"'),
        ({}, "password", '"x"', None),
        ({"people.password": "keep"}, "password", '"x"', '"x"'),
        ({"*.*": "keep"}, "token", '"x"', '"x"'),
        ({"people.name": "drop"}, "name", '"Ann"', None),
        ({"public.people.n*": "drop"}, "name", '"Ann"', None),
        ({"other.people.name": "drop"}, "name", '"Ann"', '"Ann"'),
        ({"people.card": "partial"}, "card", '"4111111111111111"', '"…1111"'),
        ({"people.card": "partial"}, "card", "4111111111111111", '"…1111"'),
        ({"people.card": "partial"}, "card", '"1234567"', '"…"'),
        ({"people.card": "partial"}, "card", '{"number": 4111111111111111}', '"…"'),
        ({"people.card": "partial", "people.*": "drop"}, "card", '"4111111111111111"', '"…1111"'),
        ({"people.name": str.upper}, "name", '"Ann"', '"ANN"'),
        ({"people.name": len}, "name", '"Ann"', "3"),
        ({"people.age": "builtins.len"}, "age", "1000", "4"),
        ({"people.data->a": "drop"}, "data", '{"a": 1, "b": 2}', '{"b":2}'),
        ({"people.data->a->b": "partial"}, "data",
         '{"a": [{"b": "12345678"}, 1]}', '{"a":[{"b":"…5678"},1]}'),
        ({"people.data->**->b": "drop"}, "data", '[{"a": {"b": 1, "c": 1.50}}]', '[{"a":{"c":1.50}}]'),
        ({"people.data->*": "drop"}, "data", '{"a": 1, "b": null}', '{"b":null}'),
        ({"people.data->a": "drop"}, "data", '{"\\u0061": 1}', "{}"),
        ({"people.data->a": "drop"}, "data", '{"n": 12345678901234567890.10}',
         '{"n": 12345678901234567890.10}'),
        ({"people.data->a": "drop"}, "data", '{"a": 1, "n": 12345678901234567890.10}',
         '{"n":12345678901234567890.10}'),
        ({"people.data->a": "keep", "people.data->*": "drop"}, "data", '{"a": 1, "b": 2}', '{"a":1}'),
        ({"people.data->**-><secret>": "drop"}, "data",
         '[{"apiKey": 1, "a": {"X-API-Key": {}, "n": 1.50, "tokens_used": 2, "Password": null}}]',
         '[{"a":{"n":1.50,"tokens_used":2,"Password":null}}]'),
        ({"*.*->a->?oken": "keep", "*.*->**-><secret>": "partial"}, "data",
         '{"a": {"token": "x"}, "token": "y"}', '{"a":{"token":"x"},"token":"…"}'),
        ({"*.*->**-><secret>": "drop"}, "data", '{"key": "primary",  "note": "a secret"}',
         '{"key":"primary","note":"a secret"}'),
        ({"*.*->**-><secret>": "drop"}, "data", '{"a":  "none"}', '{"a":  "none"}'),
        ({"*.*->**-><secret>": "drop"}, "data", '{"\\u0070wd": "x"}', "{}"),
    ],
)  # fmt: skip
def test_the_first_rule_that_matches_applies(
    mask: dict[str, Any], column: str, value: str, shown: str | None
) -> None:
    assert kept(rules(mask), column, value) == shown


def test_equal_values_have_equal_hashes_which_depend_on_the_key() -> None:
    found = rules({"people.*": "hash"})
    one = kept(found, "email", '"ann@example.com"')
    assert one == kept(found, "other", '"ann@example.com"')
    assert one != kept(found, "email", '"bob@example.com"')
    assert one != kept(rules({"people.*": "hash"}, b"another key of 16"), "email", '"ann@example.com"')
    assert one is not None
    assert "ann" not in one
    assert kept(found, "id", "5") == kept(found, "id", '"5"')


@given(st.text(min_size=1), st.binary(min_size=16))
def test_a_hash_shows_nothing_of_a_value_and_is_stable(text: str, key: bytes) -> None:
    value = orjson.dumps(text)
    assert hashed(value, key) == hashed(hashed(value, key), key) == hashed(value, key)


def test_a_value_of_a_column_that_looks_like_a_hash_is_hashed() -> None:
    forged = '"hmac:00112233445566778899aabbccddeeff"'
    found = rules({"people.ssn": "hash", "people.data->a": "hash"})
    mask = found.of_table([("public", "people")], ["ssn"], ())["ssn"]
    assert mask.of_text is not None
    shown = mask.of_text(forged.strip('"').encode()).decode()
    assert shown != forged
    assert kept(found, "ssn", forged) == kept(found, "ssn", forged, ("ssn",)) == shown
    assert kept(found, "data", f'{{"a": {forged}}}') == f'{{"a":{shown}}}'


@pytest.mark.parametrize("action", ["drop", "partial", str.upper])
def test_keys_of_tables_are_only_ever_hashed(action: Any) -> None:
    found = rules({"people.ssn": action, "people.data->a": "drop"})
    assert kept(found, "ssn", '"123-45-6789"', ("ssn",)) == hashed(b'"123-45-6789"', KEY).decode()
    shown = kept(found, "data", '{"a": 1}', ("data",))
    assert shown is not None
    assert shown.startswith('"hmac:')


def test_a_rule_for_what_is_in_columns_says_nothing_of_those_without_keys() -> None:
    int4, text, jsonb, of_a_user = 23, 25, 3802, 16_390
    types = {"id": int4, "name": text, "data": jsonb, "odd": of_a_user}
    found = rules({"*.*->**->a": "drop"})
    masks = found.of_table([("public", "people")], [*types, "untold"], ["id"], types=types)
    assert masks.keys() == {"data", "odd", "untold"}
    assert {name for name in types if found.is_masked([("public", "people")], name, types[name])} == {
        "data", "odd",
    }  # fmt: skip
    assert not found.is_masked_whole([("public", "people")], "data")


def test_a_hash_is_the_same_however_many_values_were_hashed_since() -> None:
    values = [b'"%d"' % number for number in range(5000)] + [b'"%b"' % (b"x" * 200)]
    first = [hashed(value, KEY) for value in values]
    assert [hashed(value, KEY) for value in values] == first
    assert len(set(first)) == len(values)
    expected = hmac.digest(KEY, b"0", "sha256")[:16].hex()
    assert first[0] == f'"hmac:{expected}"'.encode()


def test_a_key_of_a_table_is_hashed_even_without_a_key_of_hashes() -> None:
    masks = DEFAULT.of_table([("public", "tokens")], ["token"], ["token"])
    assert masks["token"].mask is not None
    assert masks["token"].mask(b'"x"') != hashed(b'"x"', b"")


def explode(value: str) -> str:
    raise ValueError(value)


@pytest.mark.parametrize("function", [explode, lambda value: object(), lambda value: b"x", lambda value: "\0",
                                      lambda value: "\ud800", lambda value: {1: 2}, lambda value: 1 << 80,
                                      lambda value: exit(1), lambda: 1])  # fmt: skip
def test_of_a_function_that_fails_nothing_is_kept_and_it_is_told(function: Any) -> None:
    told: list[tuple[str, str]] = []
    masks = rules({"people.name": function}).of_table(
        [("public", "people")], ["name"], (), lambda path, reason: told.append((path, reason))
    )
    assert masks["name"].mask is not None
    assert masks["name"].mask(b'"hunter2"') == b"null"
    assert len(told) == 1
    assert "hunter2" not in str(told)


def test_json_that_cannot_be_read_is_dropped() -> None:
    deep = "[" * 5000 + '{"a": 1}' + "]" * 5000
    assert kept(rules({"people.data->a": "drop"}), "data", deep) == "null"


@pytest.mark.parametrize(
    ("mask", "key", "said"),
    [
        ([], None, "pattern: action"),
        ({"password": "drop"}, None, "'password' is not table.column"),
        ({"a.b.c.d": "drop"}, None, "is not table.column"),
        ({"a.b->": "drop"}, None, "empty key"),
        ({"context": "drop"}, None, "names no key"),
        ({5: "drop"}, None, "is not table.column"),
        ({"a.b": "shred"}, None, "'shred', of 'a.b', is no action"),
        ({"a.b": None}, None, "is no action"),
        ({"a.b": "no.such.module"}, None, "cannot be imported"),
        ({"a.b": "hash"}, None, "needs BEMI_MASK_KEY"),
        ({"a.b": "hash"}, "short", "BEMI_MASK_KEY is too short"),
        ({"context->a": "encrypt"}, None, "only whole columns"),
        ({"a.b->c": "encrypt"}, None, "only whole columns"),
        ({"a.b": {"encrypt": "c"}}, None, "is no action: use {'encrypt': 'table', 'by': 'column'}"),
        ({"a.b": {"encrypt": "c", "by": 5}}, None, "is no action"),
        ({"a.b": {"encrypt": "c.d.e", "by": "f"}}, None, "must name a table"),
        ({"a.b": {"encrypt": "", "by": "f"}}, None, "must name a table"),
        ({}, 5, "BEMI_MASK_KEY is of the type int"),
        ({}, lambda: 1 / 0, "BEMI_MASK_KEY is a function that raised ZeroDivisionError"),
    ],
)
def test_wrong_rules_say_what_is_wrong(mask: Any, key: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rules_of(mask, key)


def test_a_rule_says_whose_key_encrypts() -> None:
    mask = {"people.name": "encrypt", "people.email": {"encrypt": "crm.client", "by": "client_id"}}
    found = rules_of(mask, KEY, None, [KEY, KEY.decode()])
    masks = found.of_table([("public", "people")], ["id", "name", "email"], ["id"])
    # Whoever does not encrypt keeps nothing of them.
    assert masks["name"] == ColumnMask(None, encryption=Encryption())
    assert masks["email"] == ColumnMask(None, encryption=Encryption("crm.client", "client_id"))
    assert found.encryption_keys == (KEY, KEY)
    assert [pattern.column for pattern, _ in found.encrypted] == ["name", "email"]
    with pytest.raises(ValueError, match="BEMI_ENCRYPTION_KEY is too short"):
        rules_of(mask, KEY, None, ["short"])


def test_a_column_of_a_key_is_hashed_and_not_encrypted() -> None:
    assert str(kept(rules({"people.name": "encrypt"}), "name", '"Ann"', ("name",))).startswith('"hmac:')


def test_a_key_is_a_text_or_bytes_or_a_function() -> None:
    assert key_of(None) is None
    assert key_of(KEY) == key_of(KEY.decode()) == key_of(lambda: KEY) == KEY


@pytest.mark.parametrize(
    ("path", "keys", "matches"),
    [
        ("a->b", "a b", True),
        ("a->*", "a b", True),
        ("a->*", "a", False),
        ("**->b", "b", True),
        ("**->b", "a x b", True),
        ("a->**->b", "a b", True),
        ("a->**->b", "b", False),
        ("a", "a b", False),
        ("**", "a b", True),
        ("a->**", "a", True),
        ("a->**", "b", False),
        ("**->b", "b c", False),
        ("**->b->b", "b", False),
        ("**->b->**->c", "x b y c", True),
        ("**->b->**->c", "x c y b", False),
        ("a->**->a->**", "a", False),
    ],
)
def test_paths(path: str, keys: str, *, matches: bool) -> None:
    assert path_matches(parse(f"context->{path}").path, tuple(keys.split())) == matches


def test_nothing_is_masked_without_rules() -> None:
    assert not NOTHING
    assert kept(NOTHING, "password", '"x"') == '"x"'
    assert NOTHING.context_rule(("password",)) is None
