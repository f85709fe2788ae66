"""Problems and reasons that KVOps writes, as templates with their facts beside the English texts."""

from django.db import migrations, models

COLUMNS = {
    "generation": ["problem"],
    "drilledbackup": ["problem"],
    "pruneentry": ["because"],
    "prunerequest": ["ended_because"],
    "cleanupstage": ["returned_because", "after_refused"],
    "restore": ["returned_because"],
}


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0011_difference_case"),
    ]

    operations = [
        migrations.AddField(
            model_name=model,
            name=f"{name}_sentence",
            field=models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True),
        )
        for model, names in COLUMNS.items()
        for name in names
    ]
