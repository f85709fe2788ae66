"""Backups are found by their status and the day of their deletion; those that exist have an index of their own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0022_rows_of_both_sides"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(fields=["status", "-id"], name="generation_by_status"),
        ),
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(fields=["deleted_at"], name="generation_by_deletion"),
        ),
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(
                condition=models.Q(("status__in", ["deleting", "deleted"]), _negated=True),
                fields=["id"],
                name="generation_there",
            ),
        ),
    ]
