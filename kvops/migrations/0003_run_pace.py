from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0002_triggers"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="resumed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="resumed_done",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
    ]
