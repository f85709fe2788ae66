"""An index of the backups of clean-ups: a stage looks for those that were made for it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0002_triggers"),
        ("kvops", "0003_run_pace"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(
                condition=models.Q(("purpose", "cleanup")),
                fields=["namespace", "started_at"],
                name="generation_cleanup",
            ),
        ),
    ]
