"""The error and the note of a run as a template with its facts, beside the English text."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0013_answers"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name=name,
            field=models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True),
        )
        for name in ("note_sentence", "error_sentence")
    ]
