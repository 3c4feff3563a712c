from __future__ import annotations

from django.db import migrations, models

from bemi_django.schema.operations import RequireUninstall, RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("bemi_django", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[RunSQLFile("handlers_v1", "log")],
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
