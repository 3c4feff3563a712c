"""Tables of the present get their schema where a statement reads them, and nothing else does."""

from __future__ import annotations

import pytest

from bemi_django.time_travel.statements.present_tables import qualified

PRESENT = {"auth_user": "public", "Odd": "ten ant"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            'SELECT "auth_user"."id" FROM "auth_user" INNER JOIN "todo" ON ("todo"."x" = "auth_user"."id")',
            'SELECT "auth_user"."id" FROM "public"."auth_user" INNER JOIN "todo" '
            'ON ("todo"."x" = "auth_user"."id")',
        ),
        (
            'SELECT 1 FROM "todo" WHERE "id" IN (SELECT U0."id" FROM "auth_user" U0)',
            'SELECT 1 FROM "todo" WHERE "id" IN (SELECT U0."id" FROM "public"."auth_user" U0)',
        ),
        ("SELECT 1 FROM todo, AUTH_user u", 'SELECT 1 FROM todo, "public".AUTH_user u'),
        (
            "SELECT 1 FROM (todo JOIN auth_user ON (true)), ONLY auth_user",
            'SELECT 1 FROM (todo JOIN "public".auth_user ON (true)), ONLY "public".auth_user',
        ),
        ('SELECT 1 FROM "Odd" JOIN odd ON true', 'SELECT 1 FROM "ten ant"."Odd" JOIN odd ON true'),
        ('SELECT 1 FROM U&"auth\\005fuser"', 'SELECT 1 FROM "public".U&"auth\\005fuser"'),
        (
            "SELECT 1 FROM todo UNION SELECT 1 FROM auth_user ORDER BY 1, auth_user",
            'SELECT 1 FROM todo UNION SELECT 1 FROM "public".auth_user ORDER BY 1, auth_user',
        ),
    ],
)
def test_tables_that_are_read_are_named_with_their_schema(sql: str, expected: str) -> None:
    assert qualified(sql, PRESENT) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT auth_user FROM past.auth_user",
        "SELECT 'FROM auth_user', $$FROM auth_user$$ -- FROM auth_user",
        'SELECT "from", auth_user, auth_user.id FROM todo',
        "SELECT extract(year FROM auth_user.joined) FROM todo WHERE a IS DISTINCT FROM auth_user.id",
        "SELECT f(a, auth_user) FROM todo WHERE auth_user IN (1, 2)",
        "SELECT 1 FROM todo)",
    ],
)
def test_other_names_stay_as_they_are(sql: str) -> None:
    assert qualified(sql, PRESENT) == sql
