"""Runs that look at the deployed code; queries of the traces and the reads that they told."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0010_allowed_hours"),
    ]

    operations = [
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[
                    ("scan", "scan"),
                    ("backup", "backup"),
                    ("masters", "backup of master data"),
                    ("verify", "verification"),
                    ("check", "integrity check"),
                    ("delete", "deletion"),
                    ("confirm", "proof of absence"),
                    ("reconcile", "listing of the bucket"),
                    ("late_check", "late check"),
                    ("preview", "preview of a restore"),
                    ("restore", "restore"),
                    ("undo", "undoing of a deletion"),
                    ("prune", "prune run"),
                    ("comparison", "comparison of a backup"),
                    ("drill", "restore drill"),
                    ("prune_investigation", "prune of an investigation backup"),
                    ("look", "look at the deployed code"),
                    ("search", "search of a deployed script"),
                ],
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="TraceQuery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefix", models.TextField(db_collation="C")),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("problem", models.TextField(blank=True)),
                (
                    "by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "namespace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="trace_queries", to="kvops.namespace"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="StillRead",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("worker", models.CharField(max_length=100)),
                ("version", models.CharField(max_length=100)),
                (
                    "access",
                    models.CharField(
                        choices=[
                            ("read", "reads"),
                            ("write", "writes"),
                            ("list", "lists"),
                            ("delete", "deletes"),
                            ("unknown", "cannot be told"),
                        ],
                        max_length=10,
                    ),
                ),
                ("count", models.PositiveBigIntegerField()),
                ("last_at", models.DateTimeField()),
                ("answer", models.TextField(blank=True)),
                ("answered_at", models.DateTimeField(blank=True, null=True)),
                (
                    "answered_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "query",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reads", to="kvops.tracequery"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="tracequery",
            constraint=models.UniqueConstraint(fields=("namespace", "prefix"), name="trace_query_once_per_prefix"),
        ),
        migrations.AddConstraint(
            model_name="tracequery",
            constraint=models.CheckConstraint(
                condition=models.Q(("prefix", ""), _negated=True), name="trace_query_has_a_prefix"
            ),
        ),
        migrations.AddConstraint(
            model_name="stillread",
            constraint=models.UniqueConstraint(fields=("query", "worker", "version", "access"), name="still_read_once"),
        ),
        migrations.AddConstraint(
            model_name="stillread",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("answer", ""), ("answered_at__isnull", True), ("answered_by__isnull", True)),
                    models.Q(
                        models.Q(("answer", ""), _negated=True),
                        ("answered_at__isnull", False),
                        ("answered_by__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="still_read_answered_by_someone_who_says_why",
            ),
        ),
    ]
