from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("audit", "0002_triggers"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("action", "value.viewed"), ("details__masked", True)),
                fields=["seq"],
                name="audit_entry_masked_read",
            ),
        ),
    ]
