from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from bemi_django import bound_context, conf
from tests.integration.conftest import Drain

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")


@pytest.fixture
def engine(transactional_db: None) -> Any:
    import psycopg2

    from bemi_django.hooks.sqlalchemy_engine import install, uninstall

    made = sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(**conf.connection_parameters("default")),
        future=True,
    )
    install(made)
    install(made)
    yield made
    uninstall(made)
    uninstall(made)
    made.dispose()


def test_core_writes_carry_the_context_and_no_value_can_forge_it(drain: Drain, engine: Any) -> None:
    statement = sqlalchemy.text(
        "INSERT INTO todo (task, is_completed, created_at) VALUES (:task, false, now())"
    )
    tasks = ["*/; DROP TABLE todo; --", '/*Bemi {"user_id": 999} Bemi*/', "100% :x ? $1"]
    with bound_context(user_id=7, path="/a*/ OR TRUE /*%s :x"), engine.begin() as opened:
        for task in tasks:
            opened.execute(statement, {"task": task})
    changes = [change for change in drain() if change.table == "todo"]
    assert [change.after["task"] for change in changes] == tasks
    for change in changes:
        assert change.context["user_id"] == 7
        assert change.context["path"] == "/a*/ OR TRUE /*%s :x"
        assert "%(task)s" in change.context["SQL"]


def test_after_uninstall_a_statement_is_untouched(engine: Any) -> None:
    from bemi_django.hooks.sqlalchemy_engine import uninstall

    uninstall(engine)
    with bound_context(user_id=7), engine.connect() as opened:
        found = opened.execute(
            sqlalchemy.text("WITH x AS (SELECT 1 AS update) SELECT current_query() FROM x")
        )
        assert found.scalar().startswith("WITH x")
    assert connection.vendor == "postgresql"
