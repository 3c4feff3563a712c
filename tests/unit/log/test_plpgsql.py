"""Which columns a trigger sets at every update, as far as its function tells."""

from __future__ import annotations

import pytest

from bemi_django.log.values.plpgsql import always_set, is_always


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("new.row_version := old.row_version + 1;", {"row_version"}),
        ("NEW.updated_at = now();", {"updated_at"}),
        ("new.v := coalesce(new.v, 0) + 1; NEW . w:=now();", {"v", "w"}),
        ("if TG_OP = 'UPDATE' then new.v := old.v + 1; end if;", {"v"}),
        ("if tg_op in ('INSERT', 'UPDATE') then new.v := new.v + 1; end if;", {"v"}),
        ("if new is distinct from old then new.u := now(); new.w := 1; end if;", {"u", "w"}),
        ("IF ROW(NEW.*) IS DISTINCT FROM ROW(OLD.*) THEN new.u = now(); return new; end if;", {"u"}),
        ("-- new.z := 1;\n/* new.y := 2; */ new.\"u\" := 'new.x := 3; ';", {"u"}),
        ('new."Row version" := old."Row version" + 1;', {"Row version"}),
        ('new."u" := lower(new.u); new.w := 1;', {"w"}),
        ("new.email := lower(new.email); new.slug := slug(new.title);", {"slug"}),
        ("new.hash := md5(new::text); new.b := f(new.*); new.c := 1;", {"c"}),
        ("if new.status = 'closed' then new.closed_at := now(); end if;", set()),
        ("if tg_op = 'INSERT' then new.u := now(); end if;", set()),
        ("if tg_op = 'UPDATE' and a then new.u := now(); end if;", set()),
        ("if tg_op = 'UPDATE' then new.u := 1; else new.w := 1; end if;", set()),
        ("if a then return new; end if; new.u := now();", set()),
        ("new.u := now(); return old;", set()),
        ("new.u := now(); return null;", set()),
        ("perform f(); new.u := 1;", set()),
        ("new := f(new); new.u := 1;", set()),
        ("new.u := 1; select now() into new;", set()),
        ("new.u := 1; new.w := $$a$$;", set()),
        ("new.u := 1; new.w := E'\\'; new.z := 1; --';", set()),
        ('new.u := "a; b";', set()),
        ("begin new.u := 1; exception when others then new.b := 2; end;", set()),
        ("for i in 1..2 loop new.u := now(); end loop;", set()),
        ("new.tmp := new.u; new.u := lower(new.tmp); new.w := new.z;", {"tmp", "w"}),
        ("new.tmp := row(new.*); new.u := new.tmp::text; new.w := 1;", {"w"}),
        ("new.u := now(); new.u := date(new.u);", {"u"}),
        ("if tg_op = 'update' then new.u := now(); end if;", set()),
        ("if old is distinct from old then new.u := now(); end if;", set()),
        ("new.a := 1 /* /* */ ; new.u := 2 */ ;", set()),
        ("-- a\rif new.a then\rnew.u := 1; end if;\n", set()),
        ('new."a""b" := 1;', set()),
        # What is not read is soon given up.
        ("declare y int; begin " + "new.u := 1; " * 50 + "perform f(); end;", set()),
    ],
)
def test_what_a_function_sets_in_any_case(body: str, expected: set[str]) -> None:
    assert always_set(f"declare x int; begin {body} return new; end") == expected


@pytest.mark.parametrize("declared", ["v text := new.u;", "n alias for new;", "v int; " * 50 + "begin;"])
def test_nothing_is_told_of_a_function_whose_variables_may_have_what_was_given(declared: str) -> None:
    assert always_set(f"declare {declared} begin new.u := v; return new; end") == set()


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("((old.* IS DISTINCT FROM new.*))", True), ("((new.a > 1))", False), ("(old.a <> new.a)", False)],
)
def test_a_condition_may_hold_at_every_update(condition: str, expected: bool) -> None:
    assert is_always(condition) is expected
