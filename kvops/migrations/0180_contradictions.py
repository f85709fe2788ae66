"""Rollbacks between a bucket and the database."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0160_lighter_stage"),
    ]

    operations = [
        migrations.CreateModel(
            name="DatabaseRollback",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("manifest_key", models.CharField(max_length=1024)),
                ("modified_at", models.DateTimeField()),
                ("sequence", models.BigIntegerField()),
                ("hash", models.CharField(max_length=64)),
                ("our_sequence", models.BigIntegerField()),
                ("our_hash", models.CharField(blank=True, max_length=64)),
                ("found_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_by", models.CharField(blank=True, max_length=200)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rollbacks",
                        to="kvops.environment",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("accepted_at__isnull", True)),
                        fields=("environment",),
                        name="rollback_one_per_environment",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("hash", models.F("our_hash")), _negated=True), name="rollback_is_one"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("accepted_at__isnull", True), ("accepted_by", ""), ("reason", "")),
                            models.Q(
                                ("accepted_at__isnull", False),
                                models.Q(("accepted_by", ""), _negated=True),
                                models.Q(("reason", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="rollback_accepted_by_someone_who_says_why",
                    ),
                ],
            },
        ),
    ]
