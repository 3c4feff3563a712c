from __future__ import annotations

from django.db import migrations, models

from bemi_django.schema.operations import RequireUninstall, RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("bemi_django", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                RunSQLFile("handlers_v1", "log"),
                RunSQLFile("alerts_v1", "log"),
                RunSQLFile("saved_views_v1", "log"),
            ],
            state_operations=[
                migrations.CreateModel(
                    name="Undelivered",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("handler", models.TextField()),
                        ("change_id", models.UUIDField()),
                        ("attempts", models.IntegerField()),
                        ("reason", models.TextField()),
                        ("created_at", models.DateTimeField()),
                    ],
                    options={"db_table": '_bemi"."undelivered', "ordering": ["id"]},
                ),
                migrations.CreateModel(
                    name="AlertRule",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("name", models.CharField(max_length=200, verbose_name="name")),
                        ("is_active", models.BooleanField(default=True, verbose_name="active")),
                        (
                            "kind",
                            models.CharField(
                                choices=[
                                    ("superuser", "a superuser was set"),
                                    ("outside", "something was changed outside the application"),
                                    (
                                        "deletions",
                                        "more rows than the threshold were deleted in a transaction",
                                    ),
                                    ("filter", "a change matches a filter of the list"),
                                ],
                                max_length=20,
                                verbose_name="alert when",
                            ),
                        ),
                        ("threshold", models.PositiveIntegerField(default=1000, verbose_name="threshold")),
                        ("filter", models.TextField(blank=True, verbose_name="filter")),
                        ("owner", models.TextField(editable=False)),
                        (
                            "channel",
                            models.CharField(
                                choices=[
                                    ("mail", "mail"),
                                    ("webhook", "webhook"),
                                    ("handler", "function of the project"),
                                ],
                                max_length=20,
                                verbose_name="alert by",
                            ),
                        ),
                        ("recipients", models.TextField(blank=True, verbose_name="recipients")),
                        ("url", models.TextField(blank=True, verbose_name="URL")),
                        ("handler", models.CharField(blank=True, max_length=200, verbose_name="function")),
                        ("salt", models.TextField(default="", editable=False)),
                        ("updated_at", models.DateTimeField(auto_now=True)),
                    ],
                    options={
                        "db_table": '_bemi"."alert_rules',
                        "ordering": ["id"],
                        "verbose_name": "alert rule",
                        "verbose_name_plural": "alert rules",
                    },
                ),
                migrations.CreateModel(
                    name="SavedView",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("name", models.CharField(max_length=100, verbose_name="name")),
                        ("owner", models.TextField(editable=False)),
                        ("tenant", models.TextField(default="", editable=False)),
                        ("query", models.TextField(editable=False)),
                        ("is_shared", models.BooleanField(default=False)),
                        ("default_of", models.JSONField(default=list, editable=False)),
                        ("updated_at", models.DateTimeField(auto_now=True)),
                    ],
                    options={
                        "db_table": '_bemi"."saved_views',
                        "ordering": ["name", "id"],
                        "verbose_name": "saved view",
                        "verbose_name_plural": "saved views",
                        "default_permissions": (),
                        "permissions": [("share_savedview", "Can share views of the list of changes")],
                    },
                ),
            ],
        ),
        RunSQLFile("seals_v1", "log"),
        RunSQLFile("verifications_v1", "log"),
        RunSQLFile("append_only_v1", "log"),
        RunSQLFile("retention_v1", "log"),
        RunSQLFile("erasure_v1", "log"),
        RunSQLFile("subject_keys_v1", "log"),
        RequireUninstall(),
    ]
