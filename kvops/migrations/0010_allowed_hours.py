"""The hours in which a deletion may start in an environment."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("kvops", "0009_runbook")]

    operations = [
        migrations.AddField(
            "environment", "hours", models.CharField(blank=True, db_default="", default="", max_length=11)
        ),
        migrations.AddField(
            "environment", "days", models.CharField(blank=True, db_default="", default="", max_length=27)
        ),
        migrations.AddConstraint(
            "environment",
            models.CheckConstraint(name="environment_days_have_hours", condition=Q(days="") | ~Q(hours="")),
        ),
    ]
