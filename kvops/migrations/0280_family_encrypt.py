"""Families whose copies are encrypted although they are neither settings nor unclassified."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("kvops", "0260_family_retention")]

    operations = [migrations.AddField("family", "encrypt", models.BooleanField(default=False))]
