from __future__ import annotations

import uuid

import django
import django.contrib.postgres.fields
import django.contrib.postgres.fields.hstore
import django.contrib.postgres.fields.ranges
import django.contrib.postgres.search
import django.core.serializers.json
import django.db.models.deletion
import django.db.models.expressions
import django.utils.timezone
from django.contrib.postgres.operations import CITextExtension, HStoreExtension
from django.db import migrations, models

import tests.shapes.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        HStoreExtension(),
        CITextExtension(),
        migrations.RunSQL('CREATE SCHEMA "other schema"', 'DROP SCHEMA "other schema"'),
        migrations.CreateModel(
            name="Defaults",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("flag", models.BooleanField(default=False)),
                (
                    "colour",
                    models.CharField(choices=[("r", "Red"), ("g", "Green")], default="r", max_length=1),
                ),
                (
                    "numbers",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), default=tests.shapes.models.two, size=None
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4)),
                ("data", models.JSONField(default=dict)),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
                ("empty", models.CharField(max_length=9)),
                ("unknown", models.IntegerField(null=True)),
                ("made_at", models.DateTimeField(auto_now_add=True)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                ("changed_on", models.DateField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name="Everything",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("big", models.BigIntegerField(null=True)),
                ("small", models.SmallIntegerField(null=True)),
                ("positive", models.PositiveIntegerField(null=True)),
                ("flag", models.BooleanField(null=True)),
                ("real", models.FloatField(null=True)),
                ("amount", models.DecimalField(decimal_places=3, max_digits=12, null=True)),
                ("name", models.CharField(max_length=80, null=True)),
                ("note", models.TextField(null=True)),
                ("slug", models.SlugField(null=True)),
                ("mail", models.EmailField(max_length=254, null=True)),
                ("file", models.FileField(null=True, upload_to="")),
                ("day", models.DateField(null=True)),
                ("moment", models.DateTimeField(null=True)),
                ("clock", models.TimeField(null=True)),
                ("span", models.DurationField(null=True)),
                ("raw", models.BinaryField(null=True)),
                ("address", models.GenericIPAddressField(null=True)),
                ("key", models.UUIDField(null=True)),
                ("data", models.JSONField(null=True)),
                (
                    "coded",
                    models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder, null=True),
                ),
                ("colour", models.CharField(choices=[("r", "Red"), ("g", "Green")], max_length=1, null=True)),
                ("size", models.IntegerField(choices=[(1, "Small"), (2, "Large")], null=True)),
                (
                    "numbers",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), null=True, size=None
                    ),
                ),
                (
                    "grid",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=django.contrib.postgres.fields.ArrayField(
                            base_field=models.CharField(max_length=9), size=2
                        ),
                        null=True,
                        size=None,
                    ),
                ),
                (
                    "keys",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), null=True, size=None
                    ),
                ),
                ("pairs", django.contrib.postgres.fields.hstore.HStoreField(null=True)),
                ("ints", django.contrib.postgres.fields.ranges.IntegerRangeField(null=True)),
                ("bigs", django.contrib.postgres.fields.ranges.BigIntegerRangeField(null=True)),
                ("decimals", django.contrib.postgres.fields.ranges.DecimalRangeField(null=True)),
                ("days", django.contrib.postgres.fields.ranges.DateRangeField(null=True)),
                ("moments", django.contrib.postgres.fields.ranges.DateTimeRangeField(null=True)),
                ("vector", django.contrib.postgres.search.SearchVectorField(null=True)),
                ("cased", tests.shapes.models.CitextField(null=True)),
                ("place", tests.shapes.models.PointField(null=True)),
                ("code", tests.shapes.models.CodeField(max_length=12, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Place",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=40)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Odd",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_column="the key", default=uuid.uuid4, primary_key=True, serialize=False
                    ),
                ),
                ("percent", models.IntegerField(db_column="Part (of: it)")),
                ("metadata", models.CharField(db_column="Meta Data", max_length=9)),
                (
                    "parent",
                    models.ForeignKey(
                        db_column="Up",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="children",
                        to="shapes.odd",
                    ),
                ),
            ],
            options={
                "db_table": '"odd Table"',
            },
        ),
        migrations.CreateModel(
            name="Elsewhere",
            fields=[
                ("code", models.CharField(max_length=9, primary_key=True, serialize=False)),
                (
                    "odd",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        db_constraint=False,
                        related_name="elsewhere",
                        to="shapes.odd",
                    ),
                ),
            ],
            options={
                "db_table": '"other schema"."Else where"',
            },
        ),
        migrations.CreateModel(
            name="Person",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=40)),
                (
                    "boss",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="shapes.person",
                    ),
                ),
                ("follows", models.ManyToManyField(related_name="followers", to="shapes.person")),
                ("friends", models.ManyToManyField(to="shapes.person")),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Restaurant",
            fields=[
                (
                    "place_ptr",
                    models.OneToOneField(
                        auto_created=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        parent_link=True,
                        primary_key=True,
                        serialize=False,
                        to="shapes.place",
                    ),
                ),
                ("stars", models.IntegerField(default=0)),
            ],
            options={
                "abstract": False,
            },
            bases=("shapes.place",),
        ),
        migrations.AddField(
            model_name="place",
            name="owner",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="places",
                to="shapes.person",
            ),
        ),
        migrations.CreateModel(
            name="Pizzeria",
            fields=[
                (
                    "restaurant_ptr",
                    models.OneToOneField(
                        auto_created=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        parent_link=True,
                        primary_key=True,
                        serialize=False,
                        to="shapes.restaurant",
                    ),
                ),
                ("oven", models.CharField(default="wood", max_length=9)),
            ],
            options={
                "abstract": False,
            },
            bases=("shapes.restaurant",),
        ),
        migrations.CreateModel(
            name="Grand",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("shapes.restaurant",),
        ),
        migrations.CreateModel(
            name="Visit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("bill", models.DecimalField(decimal_places=2, default=0, max_digits=8)),
                (
                    "person",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="shapes.person"),
                ),
                (
                    "pizzeria",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="shapes.pizzeria"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Shift",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "cook",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="shifts", to="shapes.person"
                    ),
                ),
                (
                    "at",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="shapes.pizzeria"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="pizzeria",
            name="cooks",
            field=models.ManyToManyField(related_name="+", through="shapes.Shift", to="shapes.person"),
        ),
        migrations.AddField(
            model_name="pizzeria",
            name="guests",
            field=models.ManyToManyField(related_name="visited", through="shapes.Visit", to="shapes.person"),
        ),
        migrations.CreateModel(
            name="Review",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("text", models.TextField(default="")),
                (
                    "of",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reviews", to="shapes.grand"
                    ),
                ),
            ],
        ),
    ]
    if django.VERSION >= (5, 0):
        operations += [
            migrations.CreateModel(
                name="Computed",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("side", models.IntegerField()),
                    (
                        "area",
                        models.GeneratedField(
                            db_persist=True,
                            expression=django.db.models.expressions.CombinedExpression(
                                models.F("side"), "*", models.F("side")
                            ),
                            output_field=models.BigIntegerField(),
                        ),
                    ),
                    ("state", models.CharField(db_default="new", max_length=9)),
                    ("both", models.IntegerField(db_default=2, default=1)),
                ],
            ),
        ]
    if django.VERSION >= (5, 2):
        operations += [
            migrations.CreateModel(
                name="Line",
                fields=[
                    (
                        "pk",
                        models.CompositePrimaryKey(
                            "order_id",
                            "number",
                            blank=True,
                            editable=False,
                            primary_key=True,
                            serialize=False,
                        ),
                    ),
                    ("number", models.IntegerField()),
                    ("text", models.CharField(default="", max_length=9)),
                    (
                        "order",
                        models.ForeignKey(
                            on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="shapes.odd"
                        ),
                    ),
                ],
            ),
        ]
