"""The keys in the order of their expiration and of their first scan by an index; filters that a person keeps."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0025_budgets"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="key",
            index=models.Index(fields=["namespace", "expiration", "name"], name="key_by_expiration"),
        ),
        migrations.AddIndex(
            model_name="key",
            index=models.Index(fields=["namespace", "first_seen", "name"], name="key_by_first_seen"),
        ),
        migrations.CreateModel(
            name="SavedFilter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("binding", models.CharField(max_length=100)),
                ("name", models.CharField(max_length=80)),
                ("query", models.CharField(max_length=4000)),
                ("saved_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "person",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="saved_filters",
                        to="kvops.person",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("person", "binding", "name"), name="saved_filter_name_once"),
                    models.CheckConstraint(
                        condition=models.Q(("name", ""), _negated=True) & models.Q(("query", ""), _negated=True),
                        name="saved_filter_has_name_and_query",
                    ),
                ],
            },
        ),
    ]
