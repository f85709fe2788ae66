from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_guards"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("action", "value.viewed"), ("details__masked", True)),
                fields=["seq"],
                name="audit_entry_masked_read",
            ),
        ),
    ]
