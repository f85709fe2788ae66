from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0003_backups_of_stages"),
        ("kvops", "0004_indexes_of_scale"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(fields=["finished_at"], name="generation_by_end"),
        ),
    ]
