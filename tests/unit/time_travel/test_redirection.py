from __future__ import annotations

import pytest

from bemi_django.time_travel.redirection import Redirection


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM app.thing", 'SELECT * FROM "_bemi_past_app".thing'),
        ('SELECT "app"."thing"."id" FROM "app"."thing"', None),
        ("SELECT APP . Thing FROM x", 'SELECT "_bemi_past_app" . Thing FROM x'),
        ("SELECT app.other, other.app.thing, x.thing, apps.thing", ""),
        ("SELECT 'app.thing', 'it''s app.thing' -- app.thing\n, /* app.thing */ $a$ app.thing $a$", ""),
        ('SELECT * FROM "App"."thing"', ""),
        ('SELECT * FROM "o""dd"."T"', 'SELECT * FROM "_bemi_past_o""dd"."T"'),
        ("SELECT %s, %(app)s", ""),
    ],
)
def test_only_tables_that_are_named_with_their_schema_are_redirected(sql: str, expected: str | None) -> None:
    if expected is None:
        expected = sql.replace('"app".', '"_bemi_past_app".')
    redirection = Redirection({("app", "thing"), ('o"dd', "T")})
    assert redirection.of(sql) == (expected or sql)
