from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("audit", "0003_masked_read"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("action", "signin.failed"), _negated=True),
                fields=["actor"],
                name="audit_entry_known_actor",
            ),
        ),
    ]
