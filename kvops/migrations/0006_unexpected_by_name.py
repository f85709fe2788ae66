"""Unexpected keys are found by their name, for the story of a key and for the audit log."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("kvops", "0005_find_names")]

    operations = [
        migrations.AddIndex(
            model_name="unexpectedkey", index=models.Index(fields=["name", "scan"], name="unexpected_by_name")
        ),
    ]
