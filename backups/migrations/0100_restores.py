"""Restores: what is put back, name by name and chunk by chunk."""

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0130_statistics_of_the_stage"),
        ("kvops", "0100_restores"),
    ]

    operations = [
        migrations.AlterField(
            model_name="generation",
            name="purpose",
            field=models.CharField(
                choices=[("routine", "routine"), ("cleanup", "clean-up"), ("restore", "what a restore overwrites")],
                default="routine",
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="Restore",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefix", models.TextField(blank=True, db_collation="C")),
                ("listed", models.BooleanField(default=False)),
                (
                    "on_conflict",
                    models.CharField(
                        choices=[
                            ("skip", "leave it as it is"),
                            ("stop", "write nothing at all"),
                            ("overwrite", "overwrite it, after a copy of it was made and verified"),
                        ],
                        default="skip",
                        max_length=10,
                    ),
                ),
                ("prepared_by", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("preparing", "being compared with KV"),
                            ("prepared", "compared with KV"),
                            ("submitted", "waiting for approval"),
                            ("approved", "approved"),
                            ("writing", "writing"),
                            ("done", "done"),
                            ("ended", "given up"),
                        ],
                        default="preparing",
                        max_length=20,
                    ),
                ),
                ("names", models.BigIntegerField(default=0)),
                ("names_sha256", models.CharField(blank=True, max_length=64)),
                ("compared_at", models.DateTimeField(blank=True, null=True)),
                ("found", models.JSONField(blank=True, default=dict)),
                ("overwritten", models.BigIntegerField(default=0)),
                ("overwritten_sha256", models.CharField(blank=True, max_length=64)),
                ("reason", models.TextField(blank=True)),
                ("written", models.BigIntegerField(default=0)),
                ("equal", models.BigIntegerField(default=0)),
                ("left", models.BigIntegerField(default=0)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("returned_because", models.CharField(blank=True, max_length=1000)),
                (
                    "approval",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.approvalrequest"
                    ),
                ),
                ("environment", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.environment")),
                (
                    "generation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="restores", to="backups.generation"
                    ),
                ),
                ("namespace", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.namespace")),
                (
                    "person",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.person"
                    ),
                ),
                (
                    "preview_run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.run",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.run",
                    ),
                ),
                (
                    "safety",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="safe_restores",
                        to="backups.generation",
                    ),
                ),
                (
                    "stage",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="undos",
                        to="backups.cleanupstage",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="RestoreChunk",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("attempt", models.PositiveSmallIntegerField(default=1)),
                ("first_index", models.BigIntegerField()),
                ("last_index", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("planned", "planned"),
                            ("intended", "intended"),
                            ("sent", "sent"),
                            ("settled", "settled"),
                        ],
                        default="planned",
                        max_length=10,
                    ),
                ),
                ("epoch", models.PositiveIntegerField(default=0)),
                ("names", models.PositiveIntegerField(default=0)),
                ("names_sha256", models.CharField(blank=True, max_length=64)),
                ("read_at", models.DateTimeField(blank=True, null=True)),
                ("intended_at", models.DateTimeField(blank=True, null=True)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("gap_ms", models.PositiveIntegerField(blank=True, null=True)),
                ("answer", models.JSONField(blank=True, default=dict)),
                (
                    "restore",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="chunks", to="backups.restore"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="RestoreEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("index", models.BigIntegerField()),
                ("name", models.TextField(db_collation="C")),
                ("size", models.BigIntegerField()),
                (
                    "found",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("absent", "not there"),
                            ("equal", "there, and equal"),
                            ("value", "there with another value"),
                            ("metadata", "there with other metadata"),
                            ("expiration", "there with another expiration"),
                            ("sensitive", "there and different, but it cannot be copied first without encryption"),
                            ("expired", "its time is over"),
                            ("soon", "less than a minute left: KV takes no such key"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("planned", "not dealt with yet"),
                            ("sent", "sent, not compared yet"),
                            ("again", "not there after it was sent, to be sent again"),
                            ("written", "put back"),
                            ("equal", "was there already, equal"),
                            ("value", "there with another value, left as it is"),
                            ("metadata", "there with other metadata, left as it is"),
                            ("expiration", "there with another expiration, left as it is"),
                            (
                                "sensitive",
                                "there and different, left as it is: it cannot be copied first without encryption",
                            ),
                            ("changed", "changed since the comparison, left as it is"),
                            ("expired", "its time is over"),
                            ("soon", "less than a minute left, not put back: decide by hand"),
                            ("different", "different when it was compared after the writing"),
                            ("failed", "not there after three tries"),
                            ("stopped", "not sent: the run was ended early"),
                        ],
                        default="planned",
                        max_length=10,
                    ),
                ),
                (
                    "compared",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "unknown"),
                            ("equal", "equal"),
                            ("different", "different"),
                            ("absent", "not there"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "restore",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="entries", to="backups.restore"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "restore entries",
            },
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.UniqueConstraint(fields=("approval",), name="restore_one_per_approval"),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.UniqueConstraint(fields=("run",), name="restore_one_per_run"),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.UniqueConstraint(fields=("stage",), name="restore_one_undo_per_stage"),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("stage__isnull", False),
                    ("state__in", ["preparing", "ended"]),
                    models.Q(("compared_at__isnull", False), models.Q(("names_sha256", ""), _negated=True)),
                    _connector="OR",
                ),
                name="restore_prepared_was_compared",
            ),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["submitted", "approved", "writing", "done"]), _negated=True),
                    ("approval__isnull", False),
                    _connector="OR",
                ),
                name="restore_submitted_has_an_approval",
            ),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["submitted", "approved", "writing", "done"]), _negated=True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="restore_submitted_has_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["writing", "done"]), _negated=True), ("run__isnull", False), _connector="OR"
                ),
                name="restore_writing_has_a_run",
            ),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.CheckConstraint(
                condition=models.Q(("stage__isnull", True), ("on_conflict", "skip"), _connector="OR"),
                name="restore_undo_never_overwrites",
            ),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at__isnull", False), ("state__in", ["done", "ended"])),
                    models.Q(models.Q(("state__in", ["done", "ended"]), _negated=True), ("finished_at__isnull", True)),
                    _connector="OR",
                ),
                name="restore_over_has_an_end",
            ),
        ),
        migrations.AddConstraint(
            model_name="restorechunk",
            constraint=models.UniqueConstraint(fields=("restore", "number"), name="restore_chunk_number_once"),
        ),
        migrations.AddConstraint(
            model_name="restorechunk",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state", "planned"), models.Q(("names_sha256", ""), _negated=True), _connector="OR"
                ),
                name="restore_chunk_intended_names_its_set",
            ),
        ),
        migrations.AddConstraint(
            model_name="restorechunk",
            constraint=models.CheckConstraint(
                condition=models.Q(("attempt__gte", 1), ("attempt__lte", 3)), name="restore_chunk_three_tries"
            ),
        ),
        migrations.AddConstraint(
            model_name="restorechunk",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("last_index__gte", models.F("first_index")),
                    (
                        "last_index__lt",
                        django.db.models.expressions.CombinedExpression(
                            models.F("first_index"), "+", models.Value(1000)
                        ),
                    ),
                ),
                name="restore_chunk_at_most_1000",
            ),
        ),
        migrations.AddConstraint(
            model_name="restoreentry",
            constraint=models.UniqueConstraint(fields=("restore", "index"), name="restore_index_once"),
        ),
        migrations.AddConstraint(
            model_name="restoreentry",
            constraint=models.UniqueConstraint(fields=("restore", "name"), name="restore_name_once"),
        ),
    ]
