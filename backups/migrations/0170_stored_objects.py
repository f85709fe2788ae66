"""The objects of each bucket as its newest listing showed them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0160_lighter_entries"),
        ("kvops", "0170_reconcile_kind"),
    ]

    operations = [
        migrations.CreateModel(
            name="StagedObject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(db_collation="C", max_length=1024)),
                ("size", models.BigIntegerField()),
                ("etag", models.CharField(max_length=200)),
                ("run", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="kvops.run")),
            ],
        ),
        migrations.CreateModel(
            name="StoredObject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(db_collation="C", max_length=1024)),
                ("size", models.BigIntegerField(blank=True, null=True)),
                ("etag", models.CharField(blank=True, max_length=200)),
                ("seen_at", models.DateTimeField(blank=True, null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("known", "part of a copy"),
                            ("unknown", "part of no copy"),
                            ("missing", "missing from the bucket"),
                            ("changed", "changed since it was written"),
                        ],
                        max_length=10,
                    ),
                ),
                ("written_size", models.BigIntegerField(blank=True, null=True)),
                ("written_etag", models.CharField(blank=True, max_length=200)),
                ("environment", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.environment")),
                (
                    "generation",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="backups.generation"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["key", "id"], name="stored_object_by_key"),
                    models.Index(fields=["status", "key", "id"], name="stored_object_by_status"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "key"), name="stored_object_once"),
                    models.CheckConstraint(
                        condition=models.Q(("status", "unknown"), ("generation__isnull", False), _connector="OR"),
                        name="stored_object_of_a_backup_names_it",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status", "missing"),
                            models.Q(("seen_at__isnull", False), ("size__isnull", False)),
                            _connector="OR",
                        ),
                        name="stored_object_is_missing_or_was_seen",
                    ),
                ],
            },
        ),
        # Filled anew by the next listing, so it need not survive a crash of Postgres.
        migrations.RunSQL(
            "ALTER TABLE backups_stagedobject SET UNLOGGED;", "ALTER TABLE backups_stagedobject SET LOGGED;"
        ),
    ]
