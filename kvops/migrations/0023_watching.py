"""What is watched: answers of Cloudflare, refused tokens, and since when a run waits."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0022_workers"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="waiting_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.CreateModel(
            name="AnswerCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("route", models.CharField(max_length=60)),
                ("status", models.PositiveSmallIntegerField()),
                ("within", models.FloatField()),
                ("answers", models.PositiveBigIntegerField()),
                ("seconds", models.FloatField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("route", "status", "within"), name="answer_count_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="RefusedToken",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=200)),
                ("service", models.CharField(choices=[("cloudflare", "Cloudflare"), ("r2", "R2")], max_length=20)),
                ("status", models.PositiveSmallIntegerField()),
                ("route", models.CharField(max_length=60)),
                ("since", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("told_at", models.DateTimeField(blank=True, null=True)),
                ("over_at", models.DateTimeField(blank=True, null=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="refused_tokens",
                        to="kvops.environment",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("over_at", None)),
                        fields=("environment", "reference"),
                        name="refused_token_open_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reference", ""), _negated=True), name="refused_token_names_a_reference"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", [401, 403])), name="refused_token_was_refused"
                    ),
                ],
            },
        ),
    ]
