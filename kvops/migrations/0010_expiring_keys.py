"""The key pages filter by expiration; keys that have one are few."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("kvops", "0002_guards")]

    operations = [
        migrations.AddIndex(
            model_name="key",
            index=models.Index(
                fields=["namespace", "name"], condition=models.Q(expiration__isnull=False), name="key_expiring"
            ),
        ),
    ]
