"""Masked values are on no page and in no file, whatever is masked and however it could be derived."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote as quote_url

import django
import pytest
from django.contrib.admin.utils import quote
from django.db import connection, models, transaction
from django.db.models.functions import Lower, Upper
from django.test import Client

from bemi_django.log.keys import key_of
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, record, visitor
from tests.support.audit_api import API
from tests.support.masked_models import SECRETS, fill, made
from tests.support.passing_models import meta_of, passing_models

pytestmark = pytest.mark.django_db(databases=["default", "other"])
COLUMNS = sorted(SECRETS)
MASK = "••••••"


@pytest.fixture
def world(db: None) -> Iterator[list[Any]]:
    with made() as found:
        yield fill(found)


@pytest.fixture
def curious(world: list[Any]) -> Client:
    """Somebody who may do everything but see masked values."""
    names = {type(instance)._meta.model_name for instance in world}
    permissions = [
        f"shop.{action}_{name}" for name in names for action in ("view", "add", "change", "delete")
    ]
    actions = ("view", "export", "revert")
    own = (*(f"bemi_django.{action}_change" for action in actions), "bemi_django.view_health")
    return visitor(*own, *sorted(permissions))


def pages(world: list[Any]) -> Iterator[str]:
    yield from ("", "activity/", "deleted/", "health/", "?table=person", "?q=journal", "?operation=DELETE")
    yield from (f"export/?format={name}" for name in ("csv", "jsonl"))
    for number, change in enumerate(Change.objects.exclude(table="journal")):
        yield f"{change.pk}/change/" if number % 2 else f"revert/?change={change.pk}"
    now = datetime.now(timezone.utc)
    for instance in world:
        meta = instance._meta
        page = f"timeline/{meta.app_label}/{meta.model_name}/{quote(key_of(instance))}/"
        yield page
        yield f"{page}?at={quote_url(f'{now - timedelta(days=9):%Y-%m-%dT%H:%M:%S}')}"
        yield from (f"{page}?field={field.column}" for field in meta.concrete_fields)
        yield f"{page}?and={quote_url(f'{now - timedelta(days=9):%Y-%m-%dT%H:%M:%S}')}"


def text_of(client: Client, page: str) -> str:
    response: Any = client.get(f"{LIST}{page}")
    assert response.status_code in (200, 403), (page, response.status_code)
    content = b"".join(response) if response.streaming else response.content
    return content.decode() if response.status_code == 200 else ""


@pytest.mark.parametrize("part", range(3))
def test_no_secret_is_in_any_response(world: list[Any], curious: Client, settings: Any, part: int) -> None:
    """A third of the columns is masked each time."""
    masked = COLUMNS[part::3]
    settings.BEMI_MASKED_FIELDS = [name if part % 2 else name.partition(".")[2] for name in masked]
    secrets = [secret for name in masked for secret in SECRETS[name]]
    for page in pages(world):
        text = text_of(curious, page)
        assert [secret for secret in secrets if secret in text] == [], (page, settings.BEMI_MASKED_FIELDS)


#: What others have written to the rows since, by column: a conflict for whoever reverts.
SINCE = {
    "hr.person.name": "Wilhelmina",
    "hr.person.salary": "5151515.15",
    "public.badge.code": "BADGE-SINCE-LM8",
    "public.visit.room": "Room-Since-LM7",
}


@pytest.fixture
def disputed(world: list[Any]) -> None:
    """The rows have other values than the log says, and some refer to others."""
    with connection.cursor() as cursor:
        for name, value in SINCE.items():
            schema, table, column = name.split(".")
            where = "ssn = 'SSN-TWO-QX72'" if table == "person" else "true"
            cursor.execute(f"UPDATE {schema}.{table} SET {column} = %s WHERE {where}", [value])  # noqa: S608
        # A table without a model, which a revert reaches by a foreign key, and one that a trigger writes to.
        cursor.execute(
            "CREATE TABLE award (code text PRIMARY KEY, badge_id bigint REFERENCES badge ON DELETE CASCADE);"
            "INSERT INTO award SELECT 'AWARD-PP3', id FROM badge;"
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE 'there is AWARD-PP3 already' USING ERRCODE = '23505'; END $$;"
            "CREATE TRIGGER refuse BEFORE UPDATE ON visit FOR EACH ROW EXECUTE FUNCTION refuse()"
        )


@pytest.mark.urls("tests.support.audit_api")
@pytest.mark.parametrize("part", range(3))
def test_no_secret_is_in_a_conflict_or_a_preview(
    world: list[Any], disputed: None, curious: Client, settings: Any, part: int
) -> None:
    """A third of the columns is masked each time."""
    masked = [*COLUMNS, "public.award.code"][part::3]
    settings.BEMI_MASKED_FIELDS = masked
    told = {**SECRETS, "public.award.code": ["AWARD-PP3"]}
    secrets = [secret for name in masked for secret in told[name]]
    secrets += [SINCE[name] for name in masked if name in SINCE]
    tables = {name.split(".")[1] for name in masked} | (
        {"badge", "visit"} if part == len(COLUMNS) % 3 else set()
    )
    changes = [change for change in Change.objects.exclude(table="journal") if change.table in tables]
    assert changes
    for number, change in enumerate(changes):
        way = ("change", "transaction", "since")[number % 3]
        query = f"revert/?{way}={change.pk}"
        texts = {"page": text_of(curious, query)}
        texts["answer"] = curious.get(f"{API}{query}&on_conflict=force").content.decode()
        if number % 2:
            with transaction.atomic():
                posted = curious.post(f"{LIST}{query}", {"on_conflict": "skip"})
                texts["posted"] = posted.content.decode()
                transaction.set_rollback(True)
        for what, text in texts.items():
            assert [secret for secret in secrets if secret in text] == [], (what, change.table, masked)


@pytest.mark.urls("tests.support.audit_api")
def test_conflicts_and_previews_name_what_is_not_masked(
    world: list[Any], disputed: None, curious: Client, settings: Any
) -> None:
    settings.BEMI_MASKED_FIELDS = ["hr.person.ssn"]
    changes = Change.objects.filter(table__in=["visit", "team", "badge"])
    text = "".join(text_of(curious, f"revert/?change={change.pk}") for change in changes)
    # What a delete takes along is said of the plan that overrides the conflicts.
    made = Change.objects.get(table="badge", operation="CREATE")
    text += curious.get(f"{API}revert/?change={made.pk}&on_conflict=force").content.decode()
    for shown in ("Room-Since-LM7", "BADGE-SINCE-LM8", "AWARD-PP3"):
        assert shown in text


def test_what_is_not_masked_is_shown(world: list[Any], curious: Client, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["hr.person.ssn"]
    text = text_of(curious, "") + text_of(curious, "deleted/")
    assert MASK in text
    # Seats have a key of two columns, as Django has known since 5.2.
    seats = ["Hall-GG8"] if django.VERSION >= (5, 2) else []
    for secret in ("Zacharias", "BADGE-KW55", "Team-Rocket", *seats, "7654321.09"):
        assert secret in text
    assert f"{MASK[-4:]} 7654321.09 23.07.1931" in text


@pytest.mark.parametrize("pattern", ["person.ssn", "hr.person*ssn"])
def test_a_masked_key_is_neither_linked_nor_found(
    world: list[Any], curious: Client, settings: Any, pattern: str
) -> None:
    settings.BEMI_MASKED_FIELDS = [pattern]
    for query in ("pk:SSN-ONE-QX71", "SSN-ONE-QX71", "ssn:SSN-ONE-QX71", "person_id:SSN-TWO-QX72"):
        assert curious.get(LIST, {"q": query, "view": "rows"}).context["rows"] == []
    assert curious.get(f"{LIST}timeline/shop/person/SSN-ONE-QX71/").status_code == 403
    assert curious.get(f"{LIST}timeline/shop/person/SSN-NIL/").status_code == 403
    assert curious.get(LIST, {"q": "918273645", "view": "rows"}).context["rows"] != []


def test_statements_cannot_be_guessed(world: list[Any], curious: Client, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["person.name"]
    record(1, context={"SQL": "SELECT 1"})
    for query in ("SQL='SELECT 1'", '{"SQL": "SELECT 1"}'):
        response = curious.get(LIST, {"q": query, "view": "rows"})
        assert response.context["rows"] == []
        assert "You may not search the values of SQL." in response.content.decode()


def test_masked_user_names_are_neither_shown_nor_found(
    db: None, settings: Any, django_user_model: Any
) -> None:
    settings.BEMI_MASKED_FIELDS = ["auth_user.username"]
    user = django_user_model.objects.create(username="Heisenberg")
    record(1, context={"user_id": user.pk})
    client = visitor("bemi_django.view_change")
    for page in ("", "activity/", f"activity/?user={user.pk}"):
        assert "Heisenberg" not in text_of(client, page)
    assert client.get(LIST, {"user": "Heisenberg", "view": "rows"}).context["rows"] == []
    assert client.get(LIST, {"user": str(user.pk), "view": "rows"}).context["rows"] != []


def test_a_table_is_found_through_search_path(db: None, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["elsewhere.tag.name"]
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA elsewhere")
        cursor.execute("CREATE TABLE elsewhere.tag (LIKE tag INCLUDING ALL)")
        cursor.execute("INSERT INTO elsewhere.tag VALUES (77, 'Hidden-Tag')")
        cursor.execute("SET LOCAL search_path = elsewhere, public")
    row = {"id": 77, "name": "Hidden-Tag"}
    record(1, schema="elsewhere", table="tag", primary_key="77", operation="CREATE", before={}, after=row)
    client = visitor("bemi_django.view_change", "todos.view_tag")
    assert "Hidden-Tag" not in text_of(client, "") + text_of(client, "timeline/todos/tag/77/")


@pytest.mark.parametrize("column", ["todo_tags.tag_id", "tag.id"])
def test_members_of_a_masked_relationship_are_not_named(db: None, settings: Any, column: str) -> None:
    settings.BEMI_MASKED_FIELDS = [column]
    Todo.objects.create(pk=1, task="Sleep").tags.add(Tag.objects.create(pk=77, name="Hidden-Tag"))
    client = visitor("bemi_django.view_change", "todos.view_todo", "todos.view_tag")
    assert "Hidden-Tag" not in text_of(client, "timeline/todos/todo/1/")


@pytest.mark.parametrize(
    ("key", "value", "is_hidden"),
    [
        ("t", True, True),
        ("2026-01-01 00:00:00+00", "2026-01-01T00:00:00+00:00", True),
        ('["x", "2026-01-01T00:00:00+00:00"]', "2026-01-01T00:00:00+00:00", True),
        ("[1, 5]", 5, True),
        ("7", 5, False),
    ],
)
def test_a_key_that_was_a_masked_value_is_hidden(
    db: None, settings: Any, key: str, value: object, is_hidden: bool
) -> None:
    settings.BEMI_MASKED_FIELDS = ["tag.name"]
    change = record(1, table="tag", primary_key=key, before={"name": value}, after={"name": value})
    client = visitor("bemi_django.view_change")
    response = client.get(f"{LIST}{change.pk}/change/")
    assert (response.context["key"] == MASK) == is_hidden


def customers() -> list[type[models.Model]]:
    """Declare a model with columns that are generated from others, also by a condition."""

    def made_of(expression: Any) -> Any:
        field = models.CharField(max_length=40)
        return models.GeneratedField(expression=expression, output_field=field, db_persist=True)

    class Customer(models.Model):
        mail = models.CharField(max_length=40)
        town = models.CharField(max_length=40)
        folded = made_of(Lower("mail"))
        kind = made_of(models.Case(models.When(mail="x", then=models.Value("x")), default=models.Value("y")))
        place = made_of(Upper("town"))
        Meta = meta_of("customer")

        def __str__(self) -> str:
            return str(self.place)

    return [Customer]


@pytest.mark.skipif(django.VERSION < (5, 0), reason="needs GeneratedField")
def test_what_is_generated_from_a_masked_value_is_hidden(db: None, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["customer.mail"]
    secrets = {"mail": "Hidden-Mail", "folded": "hidden-mail", "kind": "hidden-kind"}
    row = {"id": 1, "town": "Town", **secrets, "place": "SHOWN-PLACE"}
    with passing_models(customers, "crm"):
        change = record(1, table="customer", primary_key="1", operation="CREATE", before={}, after=row)
        client = visitor("bemi_django.view_change", "bemi_django.export_change", "shop.view_customer")
        pages = ("", "timeline/shop/customer/1/", f"{change.pk}/change/", "export/?format=jsonl")
        for text in (text_of(client, page) for page in pages):
            assert [secret for secret in secrets.values() if secret in text] == []
        assert "SHOWN-PLACE" in text
        found = client.get(LIST, {"q": "folded:hidden-mail", "view": "rows"})
    assert found.context["rows"] == []
