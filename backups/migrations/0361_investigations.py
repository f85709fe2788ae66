"""Copies of caches for investigations; what R2 deletes by itself."""

import datetime as dt

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0360_copy_shares"),
        ("kvops", "0332_investigations"),
    ]

    operations = [
        migrations.CreateModel(
            name="Investigation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=200)),
                ("reason", models.TextField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ends_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("closed_because", models.TextField(blank=True)),
                ("over_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="generation",
            name="generation_kept_14_days",
        ),
        migrations.AddField(
            model_name="bucketprotection",
            name="deletes",
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddField(
            model_name="bucketprotection",
            name="expiry",
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="generation",
            name="purpose",
            field=models.CharField(
                choices=[
                    ("routine", "routine"),
                    ("cleanup", "clean-up"),
                    ("restore", "what a restore overwrites"),
                    ("masters", "master data of D1"),
                    ("investigation", "investigation"),
                ],
                default="routine",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="generation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("purpose", "investigation"),
                    (
                        "retain_until__gte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("started_at"), "+", models.Value(dt.timedelta(days=14))
                        ),
                    ),
                    _connector="OR",
                ),
                name="generation_kept_14_days",
            ),
        ),
        migrations.AddField(
            model_name="investigation",
            name="asked_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="investigations", to="kvops.person"
            ),
        ),
        migrations.AddField(
            model_name="investigation",
            name="closed_by",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"
            ),
        ),
        migrations.AddField(
            model_name="investigation",
            name="environment",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.environment"),
        ),
        migrations.AddField(
            model_name="investigation",
            name="generation",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT, related_name="investigation", to="backups.generation"
            ),
        ),
        migrations.AddField(
            model_name="investigation",
            name="run",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="investigation",
                to="kvops.run",
            ),
        ),
        migrations.AddConstraint(
            model_name="investigation",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("title", ""), _negated=True), models.Q(("reason", ""), _negated=True)),
                name="investigation_has_a_name",
            ),
        ),
        migrations.AddConstraint(
            model_name="investigation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ends_at__gt", models.F("created_at")),
                    (
                        "ends_at__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("created_at"), "+", models.Value(dt.timedelta(days=30))
                        ),
                    ),
                ),
                name="investigation_ends_within_30_days",
            ),
        ),
        migrations.AddConstraint(
            model_name="investigation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_at__isnull", True), ("closed_because", ""), ("closed_by__isnull", True)),
                    models.Q(
                        ("closed_at__isnull", False),
                        ("closed_by__isnull", False),
                        models.Q(("closed_because", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="investigation_closed_by_whom_and_why",
            ),
        ),
    ]
