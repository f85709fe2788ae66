"""Tries that an incident outside costs are counted apart from starts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0152_daily_use"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="tries",
            field=models.PositiveIntegerField(default=0),
        ),
    ]
