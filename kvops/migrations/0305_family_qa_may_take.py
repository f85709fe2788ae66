"""Which families' keys of production another environment may take."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0301_schedules"),
    ]

    operations = [
        migrations.AddField(
            model_name="family",
            name="qa_may_take",
            field=models.BooleanField(default=False),
        ),
        migrations.AddConstraint(
            model_name="family",
            constraint=models.CheckConstraint(
                condition=models.Q(("category", "settings"), ("qa_may_take", True), _negated=True),
                name="family_settings_stay_in_production",
            ),
        ),
    ]
