"""Comparisons: what differs between a copy and a later one, or what KV holds."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0102_restored_names_are_no_paths"),
        ("kvops", "0250_contrast_kind"),
    ]

    operations = [
        migrations.CreateModel(
            name="Comparison",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("actor", models.CharField(max_length=200)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("found", models.JSONField(blank=True, default=dict)),
                (
                    "generation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="comparisons", to="backups.generation"
                    ),
                ),
                ("namespace", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.namespace")),
                (
                    "other",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="earlier_comparisons",
                        to="backups.generation",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.person"
                    ),
                ),
                (
                    "restore",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="comparisons",
                        to="backups.restore",
                    ),
                ),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="comparison", to="kvops.run"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ComparisonEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(db_collation="C")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("added", "added"),
                            ("removed", "removed"),
                            ("expired", "its time is over"),
                            ("value", "another value"),
                            ("metadata", "same value, other metadata"),
                            ("expiration", "only another expiration"),
                        ],
                        max_length=10,
                    ),
                ),
                ("size", models.BigIntegerField(blank=True, null=True)),
                ("other_size", models.BigIntegerField(blank=True, null=True)),
                (
                    "comparison",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="entries", to="backups.comparison"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "comparison entries",
            },
        ),
        migrations.AddConstraint(
            model_name="comparison",
            constraint=models.CheckConstraint(
                condition=models.Q(("other", models.F("generation")), _negated=True),
                name="comparison_with_another_backup",
            ),
        ),
        migrations.AddConstraint(
            model_name="comparison",
            constraint=models.UniqueConstraint(fields=("generation", "other"), name="comparison_of_two_backups_once"),
        ),
        migrations.AddConstraint(
            model_name="comparison",
            constraint=models.CheckConstraint(
                condition=models.Q(("restore__isnull", True), ("other__isnull", True), _connector="OR"),
                name="comparison_of_a_restore_is_with_kv",
            ),
        ),
        migrations.AddConstraint(
            model_name="comparison",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at__isnull", True), ("found", {})),
                    models.Q(("finished_at__isnull", False), models.Q(("found", {}), _negated=True)),
                    _connector="OR",
                ),
                name="comparison_finished_has_counts",
            ),
        ),
        migrations.AddIndex(
            model_name="comparisonentry",
            index=models.Index(fields=["comparison", "kind", "name"], name="comparison_by_kind"),
        ),
        migrations.AddConstraint(
            model_name="comparisonentry",
            constraint=models.UniqueConstraint(fields=("comparison", "name"), name="comparison_name_once"),
        ),
    ]
