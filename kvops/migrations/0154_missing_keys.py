"""Keys that vanished and nobody can say why."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0130_statistics_of_the_stage"),
    ]

    operations = [
        migrations.CreateModel(
            name="UnexplainedDeletion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(db_collation="C")),
                ("expiration", models.BigIntegerField(blank=True, null=True)),
                (
                    "category",
                    models.CharField(
                        choices=[
                            ("settings", "settings"),
                            ("cache", "cache"),
                            ("legacy", "legacy master"),
                            ("unclassified", "unclassified"),
                        ],
                        max_length=20,
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="scan",
            name="acknowledged_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="scan",
            name="acknowledged_by",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"
            ),
        ),
        migrations.AddField(
            model_name="scan",
            name="acknowledged_note",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="scan",
            name="unexplained",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddIndex(
            model_name="scan",
            index=models.Index(condition=models.Q(("unexplained__gt", 0)), fields=["-id"], name="scan_unexplained"),
        ),
        migrations.AddConstraint(
            model_name="scan",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("acknowledged_at__isnull", True), ("acknowledged_by__isnull", True), ("acknowledged_note", "")
                    ),
                    models.Q(
                        models.Q(("acknowledged_note", ""), _negated=True),
                        ("acknowledged_at__isnull", False),
                        ("acknowledged_by__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="scan_acknowledged_with_a_note",
            ),
        ),
        migrations.AddField(
            model_name="unexplaineddeletion",
            name="scan",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="unexplained_deletions",
                to="kvops.scan",
            ),
        ),
        migrations.AddConstraint(
            model_name="unexplaineddeletion",
            constraint=models.UniqueConstraint(fields=("scan", "name"), name="unexplained_once_per_scan"),
        ),
    ]
