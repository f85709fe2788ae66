"""What the manifest says of a part, kept until the manifest is written."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0002_guards")]

    operations = [
        migrations.AddField("generationpart", "stored", models.JSONField(default=list)),
    ]
