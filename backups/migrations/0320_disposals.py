"""Prunes of expired copies; a copy goes by being deleted and being gone."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0305_crossing"),
        ("kvops", "0320_dispose_kind"),
    ]

    operations = [
        migrations.CreateModel(
            name="PruneRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("collected", "collected"),
                            ("submitted", "waiting for approval"),
                            ("approved", "approved"),
                            ("deleting", "deleting"),
                            ("done", "done"),
                            ("ended", "ended"),
                        ],
                        default="collected",
                        max_length=20,
                    ),
                ),
                ("reason", models.TextField()),
                ("generations", models.PositiveIntegerField()),
                ("objects_total", models.PositiveIntegerField()),
                ("objects_sha256", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("deleted", models.PositiveIntegerField(default=0)),
                ("kept", models.PositiveIntegerField(default=0)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("ended_because", models.CharField(blank=True, max_length=1000)),
            ],
        ),
        migrations.CreateModel(
            name="PruneEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("index", models.PositiveIntegerField()),
                ("due_at", models.DateTimeField()),
                ("newer", models.JSONField()),
                ("objects_total", models.PositiveIntegerField()),
                ("objects_sha256", models.CharField(max_length=64)),
                (
                    "outcome",
                    models.CharField(
                        choices=[("planned", "to be deleted"), ("deleted", "deleted"), ("kept", "kept")],
                        default="planned",
                        max_length=10,
                    ),
                ),
                ("because", models.CharField(blank=True, max_length=1000)),
            ],
            options={
                "verbose_name_plural": "prune entries",
            },
        ),
        migrations.AddField(
            model_name="generation",
            name="deleted_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="generation",
            name="status",
            field=models.CharField(
                choices=[
                    ("writing", "being written"),
                    ("partial", "partial"),
                    ("complete", "complete, not verified"),
                    ("verified", "verified"),
                    ("damaged", "damaged"),
                    ("deleting", "being deleted"),
                    ("deleted", "deleted"),
                ],
                default="writing",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="generation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("deleted_at__isnull", False), ("status", "deleted")),
                    models.Q(models.Q(("status", "deleted"), _negated=True), ("deleted_at__isnull", True)),
                    _connector="OR",
                ),
                name="generation_deleted_has_a_date",
            ),
        ),
        migrations.AddField(
            model_name="prunerequest",
            name="approval",
            field=models.OneToOneField(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.approvalrequest"
            ),
        ),
        migrations.AddField(
            model_name="prunerequest",
            name="environment",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.environment"),
        ),
        migrations.AddField(
            model_name="prunerequest",
            name="requested_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="prunes", to="kvops.person"
            ),
        ),
        migrations.AddField(
            model_name="prunerequest",
            name="run",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="prune",
                to="kvops.run",
            ),
        ),
        migrations.AddField(
            model_name="pruneentry",
            name="prune",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="entries", to="backups.prunerequest"
            ),
        ),
        migrations.AddField(
            model_name="pruneentry",
            name="generation",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="prunes", to="backups.generation"
            ),
        ),
        migrations.AddConstraint(
            model_name="prunerequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["done", "ended"]), _negated=True),
                fields=("environment",),
                name="prune_one_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="prunerequest",
            constraint=models.CheckConstraint(condition=models.Q(("reason", ""), _negated=True), name="prune_says_why"),
        ),
        migrations.AddConstraint(
            model_name="prunerequest",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["collected", "ended"]), ("approval__isnull", False), _connector="OR"),
                name="prune_submitted_has_an_approval",
            ),
        ),
        migrations.AddConstraint(
            model_name="prunerequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["deleting", "done"]), _negated=True),
                    ("run__isnull", False),
                    _connector="OR",
                ),
                name="prune_deleting_has_a_run",
            ),
        ),
        migrations.AddConstraint(
            model_name="prunerequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at__isnull", False), ("state__in", ["done", "ended"])),
                    models.Q(models.Q(("state__in", ["done", "ended"]), _negated=True), ("finished_at__isnull", True)),
                    _connector="OR",
                ),
                name="prune_over_has_an_end",
            ),
        ),
        migrations.AddConstraint(
            model_name="pruneentry",
            constraint=models.UniqueConstraint(fields=("prune", "index"), name="prune_index_once"),
        ),
        migrations.AddConstraint(
            model_name="pruneentry",
            constraint=models.UniqueConstraint(fields=("prune", "generation"), name="prune_generation_once"),
        ),
        migrations.AddConstraint(
            model_name="pruneentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("outcome", "kept"), models.Q(("because", ""), _negated=True)),
                    models.Q(models.Q(("outcome", "kept"), _negated=True), ("because", "")),
                    _connector="OR",
                ),
                name="prune_kept_says_why",
            ),
        ),
    ]
