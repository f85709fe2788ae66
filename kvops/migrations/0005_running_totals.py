from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0004_indexes_of_scale"),
    ]

    operations = [
        migrations.CreateModel(
            name="RunningTotal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("series", models.CharField(max_length=40)),
                ("until", models.DateTimeField()),
                ("total", models.BigIntegerField()),
            ],
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["created_at"], name="run_by_creation"),
        ),
        migrations.AddConstraint(
            model_name="runningtotal",
            constraint=models.UniqueConstraint(fields=("series", "until"), name="running_total_once"),
        ),
    ]
