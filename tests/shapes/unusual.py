"""Models at which a page could fail: odd keys, odd tables, odd relations, and code that raises."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import django
from django.contrib import admin
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.db.models.fields.related import RelatedField

from bemi_django.log.lossless_json import loads
from bemi_django.log.places import Place, place_of
from bemi_django.log.printing import key_text
from bemi_django.schema.sql import quote
from tests.support.audit import record
from tests.support.passing_models import meta_of, passing_models

KEYS = ["a/b_c\"d'e", "Ü ö/_2F %41", "", " ", "<b>&amp;", "日本", "add", "[1]"]
#: What nobody sees who may not see all rows of ``Hidden``.
SECRET = "Hidden-QX71"


class RaisingField(models.CharField):  # type: ignore[type-arg]
    """A field whose stored values cannot be read any more."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        raise RuntimeError("a value of another time")

    def to_python(self, value: Any) -> Any:
        raise LookupError("a value of another time")


class TagsField(RelatedField):  # type: ignore[type-arg]
    """Tags of objects of any model: many-to-many, but no ManyToManyField, as that of django-taggit."""

    many_to_many, many_to_one, one_to_many, one_to_one = True, False, False, False

    def __init__(self, to: Any, through: Any) -> None:
        rel = models.ManyToManyRel(self, to, related_name="+", through=through)  # type: ignore[arg-type]
        super().__init__(null=True, serialize=False, rel=rel)

    def contribute_to_class(self, cls: Any, name: str, private_only: bool = False, **kwargs: Any) -> None:
        self.set_attributes_from_name(name)
        self.model = cls
        cls._meta.add_field(self)


class Shut(models.Manager):  # type: ignore[type-arg]
    """Leaves rows out, as where they are marked as deleted."""

    def get_queryset(self) -> Any:
        return super().get_queryset().none()


class BareError(Exception):
    """What no code expects."""


def colours() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'r', 'Red'")
        return [*cursor.fetchall(), ("g", "Green")]


def fails() -> list[tuple[str, str]]:
    raise BareError


def declare() -> list[type[models.Model]]:
    """Declare the models."""

    class Twin(models.Model):
        name = models.CharField(max_length=40, primary_key=True)
        Meta = meta_of("slug", managed=False)

    class Slug(models.Model):
        name = models.CharField(max_length=40, primary_key=True)
        up = models.ForeignKey("self", models.CASCADE, null=True, related_name="below")
        likes = models.ManyToManyField("self", symmetrical=False, related_name="liked")
        remarks = GenericRelation("shop.Remark", content_type_field="kind", object_id_field="of_id")
        Meta = meta_of("slug")

        def __str__(self) -> str:
            return self.name

    class Title(Slug):
        Meta = meta_of("slug", proxy=True)

        def __str__(self) -> str:
            return f"Title {self.name}"

    class Remark(models.Model):
        kind = models.ForeignKey(ContentType, models.CASCADE)
        of_id = models.TextField()
        of = GenericForeignKey("kind", "of_id")
        Meta = meta_of('odd schema"."re.mark')

        def __str__(self) -> str:
            return f"About {self.of}"

    class Token(models.Model):
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        code = models.CharField(max_length=40, unique=True)
        colour = models.CharField(
            max_length=1, choices=colours if django.VERSION >= (5, 0) else None, default="r"
        )
        Meta = meta_of("dot.ted")

        def __str__(self) -> str:
            raise BareError

    class Tagged(models.Model):
        tag = models.ForeignKey(Slug, models.CASCADE, related_name="tagged")
        kind = models.ForeignKey(ContentType, models.CASCADE, related_name="+")
        of_id = models.TextField()
        of = GenericForeignKey("kind", "of_id")
        Meta = meta_of("tagged")

    class Labelled(models.Model):
        tag = models.ForeignKey(Slug, models.CASCADE, related_name="labelled")
        of = models.ForeignKey(Token, models.CASCADE, related_name="labels")
        Meta = meta_of("labelled")

    TagsField(Slug, Tagged).contribute_to_class(Token, "tags")
    TagsField(Slug, Labelled).contribute_to_class(Token, "labels_of")

    class Use(models.Model):
        token = models.ForeignKey(Token, models.CASCADE, to_field="code", db_column="Token Code")
        slugs = models.ManyToManyField(Slug, through="Through")
        Meta = meta_of("use")

        def __str__(self) -> Any:
            return None

    class Through(models.Model):
        use = models.ForeignKey(Use, models.CASCADE)
        slug = models.ForeignKey(Slug, models.CASCADE)
        at = models.DateTimeField(auto_now=True)
        Meta = meta_of("through")

        def __str__(self) -> str:
            return f"{self.pk} in {self.slug.up or self.slug}"

    class Badge(models.Model):
        """A through table that refers to tokens by something else than their key."""

        token = models.ForeignKey(Token, models.CASCADE, to_field="code", related_name="+")
        slug = models.ForeignKey(Slug, models.CASCADE, related_name="+")
        Meta = meta_of("badge")

    models.ManyToManyField(Slug, through=Badge, related_name="+").contribute_to_class(Token, "badges")
    models.ManyToManyField(Token, through=Badge, related_name="+").contribute_to_class(Slug, "tokens")

    class Base(models.Model):
        code = models.CharField(max_length=40, primary_key=True)
        Meta = meta_of("base")

        def __str__(self) -> str:
            return self.code

    class Child(Base):
        base = models.OneToOneField(
            Base, models.CASCADE, parent_link=True, db_column="Link", related_name="+"
        )
        size = models.IntegerField(null=True)
        Meta = meta_of("child")

    class Grandchild(Child):
        token = models.ForeignKey(Token, models.SET_NULL, null=True)
        Meta = meta_of("grandchild")

    class Cursed(models.Model):
        value = RaisingField(max_length=40)
        remarks = GenericRelation(Remark, content_type_field="kind", object_id_field="of_id")
        Meta = meta_of("cursed")

    class CursedKey(models.Model):
        key = RaisingField(max_length=40, primary_key=True)
        remarks = GenericRelation(Remark, content_type_field="kind", object_id_field="of_id")
        Meta = meta_of("cursed_key")

    class CursedDay(models.Model):
        day = models.DateField(primary_key=True)
        note = models.CharField(max_length=40, default="")
        Meta = meta_of("cursed_day")

    class Broken(models.Model):
        kind = models.CharField(max_length=1, choices=fails if django.VERSION >= (5, 0) else None)
        of = models.ForeignKey(Cursed, models.CASCADE)
        Meta = meta_of("broken")

    class Absent(models.Model):
        of = models.ForeignKey(Slug, models.CASCADE, related_name="absent")
        Meta = meta_of("absent", managed=False)

    class Hidden(models.Model):
        name = models.CharField(max_length=40)
        Meta = meta_of("hidden")

        def __str__(self) -> str:
            return self.name

    class Door(models.Model):
        to = models.ForeignKey(Hidden, models.CASCADE)
        also = models.ManyToManyField(Hidden, related_name="+")
        objects = Shut()
        Meta = meta_of("door", base_manager_name="objects")

        def __str__(self) -> str:
            return f"Door {self.pk}"

    found: list[type[models.Model]] = [
        Twin,
        Slug,
        Title,
        Remark,
        Token,
        Tagged,
        Labelled,
        Use,
        Through,
        Badge,
        Base,
        Child,
        Grandchild,
    ]
    found += [Cursed, CursedKey, CursedDay, Broken, Absent, Hidden, Door]
    if django.VERSION >= (5, 2):

        class Seat(models.Model):
            pk = models.CompositePrimaryKey("hall", "number")
            hall = models.CharField(max_length=40)
            number = models.IntegerField()
            note = models.CharField(max_length=40, default="")
            Meta = meta_of("seat")

        found.append(Seat)
    return found


def unusual_models() -> AbstractContextManager[list[type[models.Model]]]:
    """Make the tables of the models, and forget the models afterwards."""
    return passing_models(declare, "odd schema")


class QuietAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Is not on the index: the addresses of the admin were made before."""

    def has_module_permission(self, request: Any) -> bool:
        return False


class HidingAdmin(QuietAdmin):
    """Shows rows to superusers only; others find a list that is empty."""

    search_fields = ("name",)

    def get_queryset(self, request: Any) -> Any:
        rows = super().get_queryset(request)
        return rows if request.user.is_superuser else rows.none()


def fill(found: list[type[models.Model]], end: str = "") -> None:
    """Make rows of each model that has a table, with keys and codes that end with a text."""
    of: dict[str, Any] = {model.__name__: model for model in found}
    slugs = [of["Slug"].objects.create(name=f"{key}{end}") for key in KEYS]
    of["Slug"].objects.filter(name=slugs[0].name).update(up=slugs[2])
    slugs[0].likes.add(slugs[1], slugs[2])
    kind = ContentType.objects.get_or_create(app_label="shop", model="slug")[0]
    of["Remark"].objects.create(kind=kind, of_id=slugs[0].name)
    token = of["Token"].objects.create(code=f"a/b{end}")
    # It knows those of an earlier test.
    ContentType.objects.clear_cache()
    kind = ContentType.objects.get_for_model(of["Token"])
    of["Tagged"].objects.create(kind=kind, of_id=token.pk, tag=slugs[5])
    of["Labelled"].objects.create(of=token, tag=slugs[1])
    of["Badge"].objects.create(token=token, slug=slugs[7])
    use = of["Use"].objects.create(token=token)
    of["Through"].objects.create(use=use, slug=slugs[0])
    of["Grandchild"].objects.create(code=f"g/1{end}", size=1, token=token)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO cursed (value) VALUES ('x') RETURNING id")
        cursor.execute("INSERT INTO broken (kind, of_id) VALUES ('k', %s)", cursor.fetchone())
        cursor.execute("INSERT INTO cursed_key VALUES (%s)", [f"k/1{end}"])
        cursor.execute("INSERT INTO cursed_day VALUES (%s, '')", [f"{44 + int(end or 0):04}-03-15 BC"])
    hidden = of["Hidden"].objects.create(name=f"{SECRET}{end}")
    of["Door"].objects.create(to=hidden).also.add(hidden)
    if "Seat" in of:
        of["Seat"].objects.create(hall=f'a"b/_{end}', number=1)


def rows_of(model: type[models.Model]) -> Iterator[tuple[Place, str, dict[str, Any]]]:
    """Yield the rows of a model's table: place, key in the log, and values."""
    place = place_of(model, "default")
    columns = [str(field.column) for field in getattr(model._meta, "pk_fields", [model._meta.pk])]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT to_jsonb(r.*)::text FROM {quote(place.schema)}.{quote(place.table)} r")  # noqa: S608
        for (text,) in cursor.fetchall():
            row = loads(text)
            yield place, key_text([row[column] for column in columns]), row


def live(found: list[type[models.Model]], first: int = 0) -> list[tuple[type[models.Model], str]]:
    """Record what happened to each row, and to rows that are gone; return models and keys of the rows."""
    number = first
    keys = []
    for model in found:
        for place, key, row in rows_of(model) if _has_table(model) else ():
            common = {"schema": place.schema, "table": place.table, "primary_key": key}
            context = {"request_id": f"r{number}", "user_id": 1, "endpoint": "/x/"}
            record(number + 1, **common, operation="CREATE", before={}, after=row, context=context)
            record(number + 2, **common, before={**row, "gone": [1]}, after=row, context=context)
            record(number + 3, **common, operation="DELETE", before=row, after={}, context=context)
            keys.append((model, key))
            number += 3
    for table in ("removed", "absent"):
        record(number + 1, table=table, before={"id": 1, "x": 1}, after={"id": 1, "x": "2"})
        number += 1
    return keys


def _has_table(model: type[models.Model]) -> bool:
    return model._meta.db_table != "absent" and not model._meta.proxy and model.__name__ != "Twin"


@contextmanager
def registered(found: list[type[models.Model]]) -> Iterator[None]:
    """Have some of the models in the admin: those that others refer to, and one that hides its rows."""
    shown: dict[type[models.Model], Any] = {
        model: HidingAdmin for model in found if model.__name__ == "Hidden"
    }
    shown |= {model: QuietAdmin for model in found if model.__name__ in ("Slug", "Token", "Cursed")}
    for model, kind in shown.items():
        admin.site.register(model, kind)
    try:
        yield
    finally:
        for model in shown:
            admin.site.unregister(model)
