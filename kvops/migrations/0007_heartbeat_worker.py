from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0006_named_searches"),
    ]

    operations = [
        migrations.AddField(
            model_name="heartbeat",
            name="worker",
            field=models.CharField(blank=True, db_default="", max_length=100),
        ),
        migrations.AddField(
            model_name="heartbeat",
            name="within",
            field=models.DurationField(null=True),
        ),
    ]
