"""The rules of retention as the database has them: tables instead of models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections, models, router

from bemi_django import conf
from bemi_django.exceptions import BemiError
from bemi_django.log.places import place_of
from bemi_django.retention import configured
from bemi_django.retention.former_names import former_names_in
from bemi_django.retention.former_rules import with_former_names
from bemi_django.retention.periods import FOREVER, NamedRule, parse
from bemi_django.retention.table_rule import TableRule
from bemi_django.schema import installed, tenancy
from bemi_django.schema.search_path import closed_cursor
from bemi_django.schema.sql import quote
from bemi_django.wire.table_name import split

_EXISTS = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""
# What a partition has is recorded under the name of its root.
_ROOT = """
SELECT c.relispartition, rn.nspname, r.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class r ON r.oid = pg_partition_root(c.oid) LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""
_IS_LOGGED = """SELECT EXISTS (SELECT FROM {} WHERE "table" = %s AND schema = %s)"""
_MAY_READ = (
    "SELECT has_table_privilege(_bemi.log_v1(), 'SELECT'), has_table_privilege('_bemi.retention', 'SELECT')"
)
_READ = "SELECT rules::text FROM _bemi.retention"
_ALLOW = """
INSERT INTO _bemi.retention (rules) VALUES ({rules})
ON CONFLICT (only_row) DO UPDATE SET rules = excluded.rules, allowed_by = session_user,
    allowed_at = clock_timestamp()
"""
# Only who has the rights of the log's owner may say what is removed.
_IS_OWNER = (
    "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = '_bemi.retention'::regclass"
)
# What whoever prunes has to call.
_FUNCTIONS = (
    "begin_pruning_v1(jsonb)",
    "end_pruning_v1(bigint, text[])",
    "watch_month_v1(timestamptz, bigint)",
    "prune_month_v1(timestamptz, jsonb, bigint)",
    "prune_rows_v1(timestamptz, timestamptz, uuid, integer, jsonb, bigint)",
)


def holds(alias: str) -> list[TableRule]:
    """Return what is held by ``BEMI_LEGAL_HOLD``, now or when the owner of the log last allowed the rules.

    Args:
        alias: Alias of the database that holds the log.

    Raises:
        BemiError: A setting is wrong, or the database has no log.
    """
    with closed_cursor(alias) as cursor:
        installed.require(cursor, "prune_rows_v1")
        stored = allowed(cursor) or []
    return [rule for rule in {*of_settings(), *stored} if rule.held]


def of_settings(*, is_to_remove: bool = False) -> list[TableRule]:
    """Return the rules of ``BEMI_RETENTION`` and ``BEMI_LEGAL_HOLD``, in an order of their own.

    The changes of a table that was renamed are in the log under its former names: they have its rules, too.

    Args:
        is_to_remove: Whether something is removed by them, so that nothing must be missing.

    Raises:
        BemiError: A setting is wrong, names a table that does not exist, or one table with two periods; or
            former names cannot be read, and something is removed.
    """
    try:
        named = parse(configured.retention(), configured.legal_hold())
    except ValueError as error:
        raise BemiError(str(error)) from None
    rules = {_rule(each) for each in named}
    _require_one_period(sorted(rules, key=repr))
    tables = [(rule.schema, rule.table) for rule in rules if rule.table is not None]
    former = former_names_in(_sources(), tables, is_to_remove) if tables else ()
    return sorted(with_former_names(rules, former), key=repr)


def _require_one_period(rules: Sequence[TableRule]) -> None:
    """Check that no table has two periods, such as by its model and by its name, or by two models.

    Raises:
        BemiError: One has.
    """
    found: dict[tuple[str | None, str | None], TableRule] = {}
    for rule in rules:
        first = rule if rule.held else found.setdefault((rule.schema, rule.table), rule)
        if first is not rule:
            name = ".".join(filter(None, (rule.schema, rule.table)))
            periods = " and for ".join(repr(one.period or FOREVER) for one in (first, rule))
            raise BemiError(f"BEMI_RETENTION keeps the changes of {name} for {periods}: name the table once")


def as_json(rules: Sequence[TableRule]) -> str:
    """Return rules as the database stores them."""
    return json.dumps([rule._asdict() for rule in rules])


def allow(alias: str, rules: Sequence[TableRule], may_change: bool = True) -> None:
    """Make sure that the owner of the log allows what the rules remove: as the owner, allow it.

    Args:
        alias: Alias of the database that holds the log.
        rules: The rules of the settings.
        may_change: Whether rules that are there may be changed. A process that has run for long may have
            older settings, without a legal hold.

    Raises:
        BemiError: The owner of the log has allowed something else.
    """
    with closed_cursor(alias) as cursor:
        installed.require(cursor, "prune_rows_v1")
        present = allowed(cursor)
        if present == list(rules) or (present is None and not rules):
            return
        cursor.execute(_IS_OWNER)
        if cursor.fetchone() != (True,) or (present is not None and not may_change):
            raise BemiError(
                "the owner of the log has not allowed what BEMI_RETENTION says now: run 'manage.py bemi "
                "prune' once as its owner, or what 'manage.py bemi grants' prints"
            )
        cursor.execute(_ALLOW.format(rules="%s"), [as_json(rules)])


def allowed(cursor: Any) -> list[TableRule] | None:
    """Return the rules that the owner of the log has allowed; None if there are none yet."""
    cursor.execute(_READ)
    found = cursor.fetchone()
    return None if found is None else [TableRule(**rule) for rule in json.loads(found[0])]


def grants(worker: str) -> Iterator[str]:
    """Return the SQL by which the owner of the log allows what the settings say, for a script.

    Args:
        worker: The role of ``bemi run``, which prunes if ``BEMI_PRUNE_AT`` is set.

    Raises:
        BemiError: A setting is wrong, or names a table that does not exist.
    """
    if not configured.retention() and not configured.legal_hold():
        return
    yield " ".join(_ALLOW.format(rules=_literal(as_json(of_settings()))).split()) + ";"
    if configured.prune_at():
        role = quote(worker)
        for function in _FUNCTIONS:
            yield f"GRANT EXECUTE ON FUNCTION _bemi.{function} TO {role};"
        yield f"GRANT SELECT ON _bemi.retention, _bemi.prunings, _bemi.handlers, _bemi.undelivered TO {role};"
        yield f"GRANT SELECT, INSERT, UPDATE ON _bemi.walked TO {role};"


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _rule(named: NamedRule) -> TableRule:
    if not named.name:
        return TableRule(None, None, named.period, named.is_held)
    schema, table = _of_model(named.model) if named.model is not None else _of_table(named.name)
    if schema is not None:
        _require_root(named.name, schema, table)
    return TableRule(schema, table, named.period, named.is_held)


def _of_model(model: type[models.Model]) -> tuple[str | None, str]:
    alias = router.db_for_write(model)
    place = place_of(model, alias)
    # Each tenant has a table of this name.
    return (None if tenancy.has_tenants(alias) else place.schema), place.table


def _of_table(name: str) -> tuple[str, str]:
    found = split(name)
    # Other names are no rules.
    assert found is not None and found.schema is not None
    schema, table = found.schema, found.name
    for alias in _sources():
        with closed_cursor(alias) as cursor:
            cursor.execute(_EXISTS, [schema, table])
            if cursor.fetchone()[0]:
                return schema, table
    if _is_remembered(schema, table):
        return schema, table
    raise BemiError(f"BEMI_RETENTION or BEMI_LEGAL_HOLD names {name!r}, which is neither a model nor a table")


def _require_root(name: str, schema: str, table: str) -> None:
    """Check that a table is no partition, unless the log has changes of the time before it was one.

    Raises:
        BemiError: The rule would be for nothing.
    """
    root: list[str] = []
    for alias in _sources():
        with closed_cursor(alias) as cursor:
            cursor.execute(_ROOT, [schema, table])
            found = cursor.fetchone()
        if found is not None:
            is_partition, *root = found
            if not is_partition:
                return
    # It is one in all databases that have it.
    if root and not _is_remembered(schema, table):
        raise BemiError(
            f"BEMI_RETENTION or BEMI_LEGAL_HOLD names {name!r}, a partition, whose changes are recorded "
            f"as those of {'.'.join(root)}: name that table"
        )


def _is_remembered(schema: str, table: str) -> bool:
    """Tell whether a table that was dropped is in the log, or was in it when the rules were allowed."""
    destination = conf.destination()
    log = installed.log(destination)
    with closed_cursor(destination) as cursor:
        cursor.execute(_MAY_READ)
        may_read_log, may_read_rules = cursor.fetchone()
        if may_read_rules and any(
            (rule.schema, rule.table) == (schema, table) for rule in allowed(cursor) or ()
        ):
            return True
        # A worker may not read the log. It prunes by no other rules than those that are allowed.
        if not may_read_log:
            return True
        cursor.execute(_IS_LOGGED.format(log), [table, schema])
        return bool(cursor.fetchone()[0])


def _sources() -> Iterator[str]:
    return filter(conf.is_source, connections)
