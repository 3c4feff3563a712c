from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.ingest.stitching.log_encoding import storable_in


@pytest.mark.parametrize(
    ("encoding", "context", "stored"),
    [
        ("UTF8", '{"a": "\\u017c ż"}', '{"a": "\\u017c ż"}'),
        ("LATIN1", '{"a": "\\u00e9 é \\n \\\\u017c"}', '{"a": "\\u00e9 é \\n \\\\u017c"}'),
        ("LATIN1", '{"\\u017c": "ż"}', '{"\\\\u017c": "\\\\u017c"}'),
        ("LATIN1", '{"a": "\\ud83d\\ude00 😀"}', '{"a": "\\\\ud83d\\\\ude00 \\\\ud83d\\\\ude00"}'),
        ("WIN1251", '{"a": "ж \\u20ac é"}', '{"a": "ж \\u20ac \\\\u00e9"}'),
        ("SQL_ASCII", '{"a": "\\u00e9 ż"}', '{"a": "é ż"}'),
        ("MULE_INTERNAL", '{"a": "é"}', '{"a": "\\\\u00e9"}'),
    ],
)
def test_characters_that_the_log_cannot_hold_are_kept_as_escapes(
    encoding: str, context: str, stored: str
) -> None:
    assert storable_in(encoding)(context.encode()).decode() == stored


@given(st.dictionaries(st.text(), st.text()), st.booleans(), st.sampled_from(["LATIN1", "WIN1252", "EUC_JP"]))
def test_nothing_else_changes(values: dict[str, str], is_escaped: bool, encoding: str) -> None:
    context = json.dumps(values, ensure_ascii=is_escaped).encode()
    stored = json.loads(storable_in(encoding)(context))
    codec = {"LATIN1": "latin-1", "WIN1252": "cp1252", "EUC_JP": "euc_jp"}[encoding]

    def expected(text: str) -> str:
        return "".join(c if encodable(c, codec) else json.dumps(c)[1:-1] for c in text)

    assert stored == {expected(key): expected(value) for key, value in values.items()}


def encodable(character: str, codec: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
