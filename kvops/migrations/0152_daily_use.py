"""The plan of an environment, and what was sent in a day."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0151_guards_of_stops"),
    ]

    operations = [
        migrations.CreateModel(
            name="DailyUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("account", models.CharField(max_length=64)),
                ("day", models.DateField()),
                ("reads", models.BigIntegerField(default=0)),
                ("writes", models.BigIntegerField(default=0)),
                ("deletes", models.BigIntegerField(default=0)),
                ("lists", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.AddField(
            model_name="environment",
            name="plan",
            field=models.CharField(
                choices=[("paid", "paid plan"), ("free", "free plan")], default="paid", max_length=10
            ),
        ),
        migrations.AddConstraint(
            model_name="environment",
            constraint=models.CheckConstraint(
                condition=models.Q(("plan__in", ["paid", "free"])), name="environment_plan_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="dailyuse",
            constraint=models.UniqueConstraint(fields=("account", "day"), name="use_once_a_day"),
        ),
    ]
