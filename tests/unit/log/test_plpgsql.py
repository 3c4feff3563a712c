"""Which columns a trigger sets at every update, as far as its function tells."""

from __future__ import annotations

import pytest

from bemi_django.log.values.plpgsql import always_set, is_always


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("new.row_version := old.row_version + 1;", {"row_version"}),
        ("NEW.updated_at = now();", {"updated_at"}),
        ("if TG_OP = 'UPDATE' then new.v := old.v + 1; else new.v := 1; end if;", {"v"}),
        ("if TG_OP = 'INSERT' then new.v := 1; else new.v := old.v + 1; end if;", {"v"}),
        ("if tg_op in ('INSERT', 'UPDATE') then new.v := coalesce(new.v, 0) + 1; end if;", {"v"}),
        ("if (tg_op = 'INSERT' or tg_op='UPDATE') then new.v := now(); end if;", {"v"}),
        ("if tg_op <> 'UPDATE' then new.a := 1; elsif tg_op = 'UPDATE' then new.y := 1; end if;", {"y"}),
        ("if new is distinct from old and new.u = old.u then new.u := now(); new.w := 1; end if;", {"u"}),
        ("if row(new.*) is distinct from row(old.*) then new.u = now(); return new; end if;", {"u"}),
        ("if tg_op = 'DELETE' then return old; end if; new.u := now();", {"u"}),
        ("begin new.a := 1; exception when others then new.b := 2; end; new.c := 3;", {"a", "c"}),
        ("-- new.z := 1;\n/* new.y := 2; */ new.\"u\" := 'new.x := 3; ';", {"u"}),
        ('new."Row version" := old."Row version" + 1;', {"Row version"}),
        ("for i in 1..2 loop new.u := now(); end loop; new.v := 1;", {"v"}),
        ("while a loop if b then new.z := 1; end if; end loop; new.q := case when a then 1 end;", {"q"}),
        ("case new.x when 1 then new.u := 1; else new.v := 2; end case; new.w := 1;", {"w"}),
        ("new.email := lower(new.email); new.slug := slug(new.title);", {"slug"}),
        ("if new.status = 'closed' then new.closed_at := now(); end if;", set()),
        ("if pg_trigger_depth() = 1 then new.u := 1; else new.w := 1; end if;", set()),
        ("if a then new.x := 1; elsif tg_op = 'UPDATE' then new.y := 1; end if;", set()),
        ("if new.x then return new; end if; new.u := now();", set()),
        ("new.u := now(); return old;", set()),
        ("new := f(new); new.u := 1;", set()),
        ("select now() into new; new.u := 1;", set()),
        ("<<l>> loop new.u := 1; end loop;", set()),
    ],
)
def test_what_a_function_sets_in_any_case(body: str, expected: set[str]) -> None:
    assert always_set(f"declare x int; begin {body} return new; end") == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("((old.* IS DISTINCT FROM new.*))", True), ("((new.a > 1))", False), ("(old.a <> new.a)", False)],
)
def test_a_condition_may_hold_at_every_update(condition: str, expected: bool) -> None:
    assert is_always(condition) is expected
