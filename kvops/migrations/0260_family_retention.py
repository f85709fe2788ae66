"""How long copies of a family are kept, and how often one is expected."""

from django.db import migrations, models

import kvops.models.categories


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0250_contrast_kind"),
    ]

    operations = [
        migrations.AddField(
            model_name="family",
            name="grace_hours",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="family",
            name="interval_hours",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="family",
            name="notice_days",
            field=models.JSONField(default=kvops.models.categories.notice_days),
        ),
        migrations.AddField(
            model_name="family",
            name="retain_days",
            field=models.PositiveSmallIntegerField(default=30),
        ),
        migrations.AddConstraint(
            model_name="family",
            constraint=models.CheckConstraint(condition=models.Q(("retain_days__gte", 14)), name="family_kept_14_days"),
        ),
        migrations.AddConstraint(
            model_name="family",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("category", "cache"), _negated=True), ("retain_days__lte", 30), _connector="OR"
                ),
                name="family_cache_kept_30_days",
            ),
        ),
        migrations.AddConstraint(
            model_name="family",
            constraint=models.CheckConstraint(
                condition=models.Q(("grace_hours", 0), ("interval_hours__gt", 0), _connector="OR"),
                name="family_grace_of_an_interval",
            ),
        ),
    ]
