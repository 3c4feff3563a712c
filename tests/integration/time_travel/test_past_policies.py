"""Row-level security: policies do not filter what comes from the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from bemi_django.exceptions import HistoryError
from bemi_django.time_travel import as_of, read_as_of
from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.travel import here, settled

# It makes a role.
pytestmark = pytest.mark.administrator

ROLE = "bemi_test_tenant"


@pytest.fixture
def tenant(drain: Drain) -> Iterator[Drain]:
    """A role that may see only what is its own."""
    execute(f"CREATE ROLE {ROLE}")
    execute(f"GRANT SELECT ON shop_category, shop_product, changes TO {ROLE}")
    execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA _bemi TO {ROLE}")
    execute(f"GRANT USAGE ON SCHEMA _bemi TO {ROLE}")
    execute(f"GRANT pg_monitor TO {ROLE}")
    execute("CREATE POLICY own ON shop_category USING (name LIKE current_setting('app.tenant') || ' %')")
    execute("ALTER TABLE shop_category ENABLE ROW LEVEL SECURITY")
    with settled:
        yield drain
    execute("RESET ROLE")
    execute("ALTER TABLE shop_category DISABLE ROW LEVEL SECURITY")
    execute("DROP POLICY own ON shop_category")
    execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


def test_a_table_with_policies_is_refused_unless_told(tenant: Drain) -> None:
    Category.objects.create(name="one a")
    Category.objects.create(name="ten b")
    tenant()
    moment = here()
    Category.objects.filter(name="one a").update(name="one c")
    tenant()
    with as_of(moment):
        assert {category.name for category in Category.objects.all()} == {"one a", "ten b"}
    execute("SET app.tenant = 'ten'")
    execute(f"SET ROLE {ROLE}")
    assert [category.name for category in Category.objects.all()] == ["ten b"]
    with (
        pytest.raises(HistoryError, match=r"row-level security applies to public.shop_category"),
        as_of(moment),
    ):
        list(Category.objects.all())
    with pytest.raises(HistoryError, match="ignore_policies=True"):
        list(read_as_of(Category.objects.all(), moment))
    with as_of(moment):
        assert execute("SELECT count(*) FROM shop_product") == [(0,)]
        with as_of(moment, ignore_policies=True):
            assert Category.objects.count() == 2
        with pytest.raises(HistoryError, match="row-level security"):
            Category.objects.count()
    assert read_as_of(Category.objects.all(), moment, ignore_policies=True).count() == 2


@pytest.mark.parametrize("is_behind", [False, True])
def test_the_command_refuses_such_a_table_unless_told(tenant: Drain, is_behind: bool) -> None:
    Category.objects.create(name="one a")
    tenant()
    moment = here()
    Category.objects.update(name="one c")
    tenant()
    execute(f"SET app.tenant = 'ten'; SET ROLE {ROLE}")
    dump = ["--", "dumpdata", "shop.Category"]
    with pytest.raises(CommandError, match="--ignore-policies"):
        call_command("bemi", "as-of", str(moment), *dump, stdout=StringIO())
    told = [str(moment), "--ignore-policies"] if is_behind else ["--ignore-policies", str(moment)]
    out = StringIO()
    call_command("bemi", "as-of", *told, *dump, stdout=out)
    assert [row["fields"]["name"] for row in json.loads(out.getvalue())] == ["one a"]
