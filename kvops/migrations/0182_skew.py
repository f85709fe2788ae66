"""How far the clocks were apart when they were compared last."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0181_guards_of_contradictions"),
    ]

    operations = [
        migrations.CreateModel(
            name="Skew",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("service", models.CharField(choices=[("cloudflare", "Cloudflare"), ("r2", "R2")], max_length=20)),
                ("seconds", models.FloatField()),
                ("measured_at", models.DateTimeField()),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="skews", to="kvops.environment"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "service"), name="skew_once_per_service")
                ],
            },
        ),
    ]
