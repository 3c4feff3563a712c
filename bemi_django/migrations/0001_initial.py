from __future__ import annotations

from django.db import migrations, models

from bemi_django import conf
from bemi_django.schema.operations import ReportRemains, RunSQLFile


class Migration(migrations.Migration):
    initial = True

    operations = [
        ReportRemains(),
        RunSQLFile("schema_v1", "any"),
        RunSQLFile("capture_v1"),
        RunSQLFile("descriptions_v1"),
        RunSQLFile("compute_v1"),
        RunSQLFile("tracking_v1"),
        RunSQLFile("event_triggers_v1"),
        RunSQLFile("baselines_v1"),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                RunSQLFile("histories_v1", "log"),
                RunSQLFile("changes_v1", "log"),
                RunSQLFile("recorded_v1", "log"),
                RunSQLFile("activity_v1", "log"),
            ],
            state_operations=[
                migrations.CreateModel(
                    name="Change",
                    fields=[
                        ("id", models.UUIDField(primary_key=True, serialize=False)),
                        ("database", models.TextField()),
                        ("schema", models.TextField()),
                        ("table", models.TextField()),
                        ("primary_key", models.TextField(null=True)),
                        ("operation", models.TextField()),
                        ("before", models.JSONField(default=dict)),
                        ("after", models.JSONField(default=dict)),
                        ("context", models.JSONField(default=dict)),
                        ("committed_at", models.DateTimeField()),
                        ("queued_at", models.DateTimeField()),
                        ("created_at", models.DateTimeField()),
                        ("transaction_id", models.BigIntegerField()),
                        ("position", models.BigIntegerField()),
                        ("previous_primary_key", models.TextField(null=True)),
                        ("partition", models.TextField(null=True)),
                        ("unavailable", models.JSONField(null=True)),
                        ("diverged", models.BooleanField(default=False)),
                    ],
                    options={
                        "db_table": conf.db_table(),
                        "ordering": ["id"],
                        "verbose_name": "change",
                        "verbose_name_plural": "changes",
                        "default_permissions": ("view",),
                        "permissions": [
                            ("revert_change", "Can revert changes"),
                            ("export_change", "Can export changes"),
                            ("unmask_change", "Can see masked values"),
                            ("view_health", "Can view the health of recording"),
                            ("travel_in_time", "Can see the site as it was"),
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="DeadLetter",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("slot", models.TextField()),
                        ("position", models.BigIntegerField()),
                        ("change_id", models.UUIDField(null=True)),
                        ("message", models.BinaryField()),
                        ("origin", models.JSONField()),
                        ("reason", models.TextField()),
                        ("created_at", models.DateTimeField()),
                    ],
                    options={
                        "db_table": '_bemi"."dead_letters',
                        "ordering": ["id"],
                        "verbose_name": "dead letter",
                        "verbose_name_plural": "dead letters",
                        "default_permissions": ("view",),
                    },
                ),
            ],
        ),
        RunSQLFile("past_v1", "both"),
        RunSQLFile("past_queries_v1", "both"),
        RunSQLFile("past_views_v1", "both"),
    ]
