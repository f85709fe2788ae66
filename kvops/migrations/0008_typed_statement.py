"""The operator's typed statement about code references goes: a search and people's answers take its place."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("kvops", "0007_references"), ("backups", "0007_references")]

    operations = [migrations.DeleteModel(name="ReferenceStatement")]
