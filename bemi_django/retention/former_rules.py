"""Rules for the names that tables of other rules had before."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bemi_django.retention.former_names import FormerName
from bemi_django.retention.periods import days_of
from bemi_django.retention.table_rule import TableRule


def with_former_names(rules: Collection[TableRule], names: Iterable[FormerName]) -> set[TableRule]:
    """Return rules with those for former names of their tables.

    Nobody can tell whose the changes under a name are that several tables had, or that has a rule of its own:
    the longest of the periods holds for them.

    Args:
        rules: The rules of the settings.
        names: The former names of tables that they name.
    """
    found = set(rules)
    for name in names:
        # A rule for tables of any schema stays one.
        schema = None if name.of_schema is None else name.schema
        for rule in rules:
            if (rule.schema, rule.table) == (name.of_schema, name.of_table):
                former = rule._replace(schema=schema, table=name.table)
                found = _added(found, former, is_shared=name.is_shared)
    return found


def _added(rules: set[TableRule], former: TableRule, *, is_shared: bool) -> set[TableRule]:
    if former.held:
        return {*rules, former}
    own = _periods_of(rules, former.schema, former.table)
    # What holds for the name in any schema would give way to the new rule, and so would the default.
    others = own or _periods_of(rules, None, former.table) or _default(rules, is_shared=is_shared)
    periods = [former.period, *(rule.period for rule in others)]
    if is_shared and not others:
        # Without a rule, they are kept for ever.
        periods.append(None)
    return rules - own | {former._replace(period=max(periods, key=days_of))}


def _periods_of(rules: Collection[TableRule], schema: str | None, table: str | None) -> set[TableRule]:
    return {rule for rule in rules if (rule.schema, rule.table) == (schema, table) and not rule.held}


def _default(rules: Collection[TableRule], *, is_shared: bool) -> set[TableRule]:
    return _periods_of(rules, None, None) if is_shared else set()
