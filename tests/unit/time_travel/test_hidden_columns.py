"""A column whose values are not known can be read, but rows cannot be chosen or sorted by it."""

from __future__ import annotations

import pytest

from bemi_django.time_travel.statements.hidden_columns import by_table, misused

HIDDEN = by_table({"public.person": ["password", "pin"]})
TABLES = ("person", "other")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM person",
        'SELECT "person"."id", "person"."password" FROM "person" WHERE "person"."id" = 5 ORDER BY 1',
        "SELECT password AS password, pin p FROM person ORDER BY id",
        "SELECT id FROM person WHERE note = 'password'",
        "SELECT id FROM other WHERE password = 'x'",
        "SELECT person.id FROM person JOIN other ON other.id = person.id WHERE other.password = 'x'",
        "SELECT id, (SELECT password FROM person p WHERE p.id = o.id) FROM other o, person",
        "SELECT * FROM (SELECT id, password FROM person) x WHERE x.id IN (SELECT id FROM person)",
        "WITH x AS (SELECT password FROM person) SELECT id FROM other",
    ],
)
def test_reading_it_is_no_misuse(sql: str) -> None:
    assert misused(sql, HIDDEN, TABLES) is None


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT id FROM person WHERE password = 'x'", "person.password"),
        ('SELECT "id" FROM "person" WHERE ("person"."password" IS NULL AND "id" = 1)', "person.password"),
        ('SELECT T3."id" FROM "person" T3 WHERE T3."pin" > 5', "person.pin"),
        ("SELECT id FROM person ORDER BY PassWord", "person.password"),
        ("SELECT id, password FROM person ORDER BY 2 DESC", "column 2"),
        ("SELECT password, count(*) FROM person GROUP BY 1", "column 1"),
        ("SELECT count(password) FROM person", "person.password"),
        ("SELECT DISTINCT ON (password) id FROM person", "person.password"),
        ("SELECT id FROM other JOIN person ON other.secret = person.password", "person.password"),
        ("SELECT id FROM person WHERE EXISTS (SELECT FROM other WHERE other.id = person.pin)", "person.pin"),
        ("SELECT x.id FROM (SELECT id, password FROM person) x WHERE x.password = 'y'", "person.password"),
    ],
)
def test_choosing_and_sorting_by_it_is(sql: str, named: str) -> None:
    assert misused(sql, HIDDEN, TABLES) == named
