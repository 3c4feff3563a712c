from __future__ import annotations

import pytest

from bemi_django.exceptions import HistoryError
from bemi_django.time_travel.statements.redirection import Redirection

TABLES = {("app", "thing"), ('o"dd', "T"), ("ÄÖ", "thing"), ("x" * 63, "thing")}
REDIRECTION = Redirection(TABLES, {schema: f"past {schema}" for schema, _ in TABLES}, "base")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM app.thing", 'SELECT * FROM "past app".thing'),
        ('SELECT "app"."thing"."id" FROM "app"."thing"', None),
        ("SELECT APP . Thing FROM x", 'SELECT "past app" . Thing FROM x'),
        ("SELECT app /* of */ . -- it\n thing", 'SELECT "past app" /* of */ . -- it\n thing'),
        ("SELECT app.other, other.app.thing, x.thing, apps.thing, f(x).app.thing", ""),
        ("SELECT 'app.thing', 'it''s app.thing' -- app.thing\n, /* app.thing */ $a$ app.thing $a$", ""),
        (r"SELECT E'it\'s app.thing', app.thing", r"""SELECT E'it\'s app.thing', "past app".thing"""),
        (
            r"SELECT e'\\', app.thing, e'\'', 'app.thing'",
            r"""SELECT e'\\', "past app".thing, e'\'', 'app.thing'""",
        ),
        ("SELECT E'a'\n'\\' app.thing', app.thing", "SELECT E'a'\n'\\' app.thing', \"past app\".thing"),
        (r"SELECT 'a\', app.thing", r"""SELECT 'a\', "past app".thing"""),
        (
            r"SELECT U&'\', app.thing, U&'a''app.thing'",
            r"""SELECT U&'\', "past app".thing, U&'a''app.thing'""",
        ),
        ("/* a /* nested */ app.thing */ SELECT app.thing", None),
        ("SELECT $$app.thing$$, $1, $a$ $b$ app.thing $a$, x$a$app.thing", ""),
        ("SELECT $ä$ app.thing $ä$, app.thing", 'SELECT $ä$ app.thing $ä$, "past app".thing'),
        (r'SELECT * FROM U&"\0061pp".thing', 'SELECT * FROM "past app".thing'),
        ("SELECT * FROM u&\"!0061pp\" UESCAPE '!' . thing", 'SELECT * FROM "past app" . thing'),
        (
            "SELECT * FROM base.app.thing, base.app.other",
            'SELECT * FROM base."past app".thing, base.app.other',
        ),
        ('SELECT * FROM "App"."thing"', ""),
        ('SELECT * FROM "o""dd"."T"', 'SELECT * FROM "past o""dd"."T"'),
        ("SELECT * FROM ÄÖ.thing, äö.thing", 'SELECT * FROM "past ÄÖ".thing, äö.thing'),
        (f"SELECT * FROM {'X' * 70}.thing", f'SELECT * FROM "past {"x" * 63}".thing'),  # noqa: S608
        ("SELECT %s, %(app)s, %(app.thing)s", ""),
        (
            "SELECT 1.app.thing, app.thing.*, -app.thing.id",
            'SELECT 1.app.thing, "past app".thing.*, -"past app".thing.id',
        ),
        ("SELECT 'app.thing", ""),
        ("SELECT app.", ""),
        ("", ""),
    ],
)
def test_only_tables_that_are_named_with_their_schema_are_redirected(sql: str, expected: str | None) -> None:
    if expected is None:
        expected = sql.replace('"app".', '"past app".').replace("SELECT app.", 'SELECT "past app".')
    assert REDIRECTION.of(sql) == (expected or sql)


def test_percent_signs_are_doubled_where_parameters_are_put_in() -> None:
    redirection = Redirection({("50%", "a%b")}, {"50%": "past 50%"}, "base", present={"p%": "100%"})
    sql = 'SELECT %s FROM "50%%"."a%%b" JOIN "p%%" ON true'
    past = 'SELECT %s FROM "past 50%%"."a%%b" JOIN "100%%"."p%%" ON true'
    assert redirection.of(sql, is_template=True) == past
    assert redirection.of(sql.replace("%%", "%")) == past.replace("%%", "%")
    assert redirection.of(sql) == sql
    with pytest.raises(HistoryError, match="values of a%b.c%d"):
        redirection.check('SELECT * FROM "a%%b" WHERE "c%%d" = %s', {"50%.a%b": ["c%d"]}, is_template=True)


def test_tables_that_came_since_are_asked_for_where_a_table_can_stand() -> None:
    asked: list[tuple[str, str]] = []

    def came_since(schema: str, name: str) -> bool:
        asked.append((schema, name))
        return name == "moved"

    redirection = Redirection(
        TABLES, {"app": "past"}, "base", came_since=came_since, present={"other": "app"}
    )
    sql = (
        "SELECT app.f(1), moved.id FROM app.moved "
        "JOIN base.app . moved y ON true, x.y JOIN app.new z JOIN ONLY app.other"
    )
    assert redirection.of(sql) == sql.replace("FROM app.", 'FROM "past".').replace("base.app", 'base."past"')
    assert asked == [("app", "moved"), ("app", "moved"), ("app", "new")]
    sql = "SELECT 1 FROM x, app.moved y, (app.moved z CROSS JOIN x)"
    assert redirection.of(sql) == sql.replace("app.", '"past".')


def test_a_table_that_came_since_is_found_among_tables_that_stay_in_the_present() -> None:
    redirection = Redirection(
        (), {"app": "past"}, "base", came_since=lambda *table: True, present={"other": "app"}
    )
    assert redirection.of("SELECT * FROM app.moved, other") == 'SELECT * FROM "past".moved, "app".other'


def test_a_backslash_escapes_where_the_session_says_so() -> None:
    old = Redirection(TABLES, {"app": "past"}, "base", standard_strings=False)
    assert old.of(r"SELECT 'it\'s app.thing', app.thing") == r"""SELECT 'it\'s app.thing', "past".thing"""


@pytest.mark.parametrize(
    ("sql", "is_write"),
    [
        ("INSERT INTO x", True),
        ("-- a\n/* b /* c */ d */\tupdate x", True),
        ("merge into x", True),
        ("inserted", False),
        ('"insert"', False),
        ("/* insert */ SELECT", False),
        ("SELECT 'insert'", False),
        ("/* ", False),
        ("", False),
    ],
)
def test_a_write_is_known_by_its_first_word(sql: str, is_write: bool) -> None:
    assert REDIRECTION.is_write(sql) is is_write


@pytest.mark.parametrize(
    "piece",
    ["/* a */ ", "/*", "-- a\n", "'", "''", "\\", "E'\\", "$a$ $b$ ", "$a", '"', "a.", "1.", " \n", "'a'\n"],
)
def test_hostile_text_is_read_in_one_pass(piece: str) -> None:
    """What goes back and forth would not end before the tests do."""
    for sql in (piece * 50_000, f"app.{piece * 50_000}thing", f"E'{piece * 50_000}app.thing"):
        REDIRECTION.of(sql)
        REDIRECTION.is_write(sql)
