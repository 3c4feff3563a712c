"""The foreign suites: where their tests come from, what they need, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: Django's labels that touch the database.
_DJANGO = """
aggregation aggregation_regress annotations async backends basic bulk_create cache composite_pk constraints
contenttypes_tests custom_columns custom_lookups custom_managers custom_methods custom_migration_operations
custom_pk datatypes dates datetimes db_functions db_typecasts db_utils defer defer_regress delete
delete_regress distinct_on_fields empty empty_models expressions expressions_case expressions_window
extra_regress field_defaults field_subclassing filtered_relation fixtures fixtures_model_package
fixtures_regress force_insert_update foreign_object from_db_value generic_relations
generic_relations_regress get_earliest_or_latest get_object_or_404 get_or_create handlers indexes inspectdb
introspection known_related_objects lookup m2m_and_m2o m2m_intermediary m2m_multiple m2m_recursive
m2m_regress m2m_signals m2m_through m2m_through_regress m2o_recursive managers_regress many_to_many
many_to_one many_to_one_null max_lengths migrate_signals migration_test_data_persistence migrations
migrations2 model_fields model_forms model_formsets model_formsets_regress model_indexes model_inheritance
model_inheritance_regress model_options model_regress model_utils multiple_database mutually_referential
nested_foreign_keys null_fk null_fk_ordering null_queries one_to_one or_lookups order_with_respect_to
ordering pagination postgres_tests prefetch_related properties proxy_model_inheritance proxy_models queries
queryset_pickle raw_query reserved_names reverse_lookup save_delete_hooks schema select_for_update
select_related select_related_onetoone select_related_regress serializers sessions_tests signals
string_lookup swappable_models test_client_regress test_utils timezones transaction_hooks transactions
unmanaged_models update update_only_fields validation view_tests xor_lookups auth_tests admin_views
admin_changelist admin_filters admin_inlines
"""
_INSIDE = "tests.foreign.inside"
_UNITTEST = ("python", "-m", "django", "test", "--noinput")
_POSTGRES = "psycopg[binary,pool]>=3.2"
_WAGTAIL = (
    "jinja2", "freezegun", "responses", "django-pattern-library", "boto3", "polib", "factory-boy",
    "azure-identity", "azure-mgmt-cdn", "azure-mgmt-frontdoor", "azure-mgmt-subscription",
)  # fmt: skip


class Suite(NamedTuple):
    """A suite that is run twice.

    Attributes:
        requires: Requirements of pip, the suite's own package among them.
        sdist: The package whose source distribution has the tests.
        command: What to run; ``{url:driver}`` becomes the URL of a database.
        labels: Arguments that name the tests.
        folder: Where to run it, below the source distribution.
        settings: Django's settings module.
        needs_database: Whether the database has to exist; in a run with the package its tables are tracked.
    """

    sdist: str
    requires: Sequence[str]
    command: Sequence[str]
    labels: Sequence[str]
    folder: str = "."
    settings: str = ""
    needs_database: bool = False


def _dialect(driver: str, package: str) -> Suite:
    plugins = ("-p", "no:cacheprovider", "-p", f"{_INSIDE}.recording_plugin")
    return Suite(
        sdist="sqlalchemy~=2.1.0",
        requires=("sqlalchemy[asyncio]~=2.1.0", "pytest", "django~=5.2.0", package),
        command=("python", "-m", "pytest", "-q", *plugins, "--dburi", f"{{url:{driver}}}"),
        labels=("test/dialect/test_suite.py", "test/dialect/postgresql", "test/sql/test_returning.py"),
        needs_database=True,
    )


_RUNTESTS = ("python", "runtests.py", "--noinput", "--parallel", "1")

SUITES = {
    "django": Suite(
        sdist="django~=5.2.0",
        requires=("django~=5.2.0", "jinja2", "pyyaml", "sqlparse", "tblib", "pillow", "argon2-cffi"),
        command=(*_RUNTESTS, "--settings", f"{_INSIDE}.settings_of_django"),
        labels=tuple(_DJANGO.split()),
        folder="tests",
    ),
    "sqlalchemy-psycopg2": _dialect("psycopg2", "psycopg2-binary"),
    "sqlalchemy-psycopg": _dialect("psycopg", "psycopg[binary]>=3.2"),
    "sqlalchemy-asyncpg": _dialect("asyncpg", "asyncpg"),
    "aldjemy": Suite(
        sdist="aldjemy==3.2",
        requires=("aldjemy==3.2", "django~=5.2.0", "sqlalchemy<2"),
        command=_UNITTEST,
        labels=("test_project.sample.tests", "test_project.pg.tests"),
        settings=f"{_INSIDE}.settings_of_aldjemy",
    ),
    "wagtail": Suite(
        sdist="wagtail~=8.0.0",
        requires=("wagtail~=8.0.0", "django~=5.2.0", _POSTGRES, *_WAGTAIL),
        command=_UNITTEST,
        labels=("wagtail.tests", "wagtail.snippets", "wagtail.documents", "wagtail.contrib.redirects"),
        settings=f"{_INSIDE}.settings_of_wagtail",
    ),
    "django-tenants": Suite(
        sdist="django-tenants~=4.0.0",
        requires=("django-tenants~=4.0.0", "django~=5.2.0", _POSTGRES, "mypy"),
        command=("python", "manage.py", "test", "--noinput"),
        labels=("django_tenants",),
        folder="dts_test_project",
        settings=f"{_INSIDE}.settings_of_tenants",
    ),
}
