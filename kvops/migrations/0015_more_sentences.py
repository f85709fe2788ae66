"""Reasons and errors that KVOps writes, as templates with their facts beside the English texts."""

from django.db import migrations, models

COLUMNS = {"approvalrequest": "reason", "firing": "reason", "notification": "error"}


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0014_sentences"),
    ]

    operations = [
        migrations.AddField(
            model_name=model,
            name=f"{name}_sentence",
            field=models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True),
        )
        for model, name in COLUMNS.items()
    ]
