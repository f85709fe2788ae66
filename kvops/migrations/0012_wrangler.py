"""The bindings of the wrangler files that a search found in the checkout."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0011_live"),
    ]

    operations = [
        migrations.AddField(
            model_name="referencesearch",
            name="wrangler",
            field=models.JSONField(default=dict),
        ),
    ]
