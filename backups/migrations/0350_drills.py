"""Drills, and what came of each copy in them."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0340_explained_objects"),
        ("kvops", "0330_drills"),
    ]

    operations = [
        migrations.CreateModel(
            name="Drill",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("namespace_id", models.CharField(max_length=64)),
                ("title", models.CharField(max_length=512)),
                ("actor", models.CharField(max_length=200)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("passed", models.BooleanField(blank=True, null=True)),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="drills", to="kvops.approvalrequest"
                    ),
                ),
                ("environment", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.environment")),
                (
                    "person",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.person"
                    ),
                ),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="drill", to="kvops.run"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DrilledBackup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("keys", models.BigIntegerField()),
                ("bytes", models.BigIntegerField()),
                ("last_index", models.BigIntegerField()),
                ("compared", models.BigIntegerField(default=0)),
                ("differing", models.BigIntegerField(default=0)),
                ("expired", models.BigIntegerField(default=0)),
                ("example", models.TextField(blank=True, db_collation="C")),
                ("problem", models.CharField(blank=True, max_length=1000)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("written_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "drill",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="backups", to="backups.drill"
                    ),
                ),
                (
                    "generation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="drilled", to="backups.generation"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "drilled copies",
            },
        ),
        migrations.AddIndex(
            model_name="drill",
            index=models.Index(fields=["environment", "-id"], name="drill_newest"),
        ),
        migrations.AddConstraint(
            model_name="drill",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at__isnull", True), ("passed__isnull", True)),
                    models.Q(("finished_at__isnull", False), ("passed__isnull", False)),
                    _connector="OR",
                ),
                name="drill_over_has_a_verdict",
            ),
        ),
        migrations.AddConstraint(
            model_name="drilledbackup",
            constraint=models.UniqueConstraint(fields=("drill", "number"), name="drilled_backup_number_once"),
        ),
        migrations.AddConstraint(
            model_name="drilledbackup",
            constraint=models.UniqueConstraint(fields=("drill", "generation"), name="drilled_backup_once"),
        ),
        migrations.AddConstraint(
            model_name="drilledbackup",
            constraint=models.CheckConstraint(
                condition=models.Q(("finished_at__isnull", True), ("started_at__isnull", False), _connector="OR"),
                name="drilled_backup_in_order",
            ),
        ),
    ]
