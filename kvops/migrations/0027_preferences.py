"""The preferences of a person: languages, time zone, and the voluntary notices that are turned off."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0026_key_orders_and_saved_filters"),
    ]

    operations = [
        migrations.AddField(
            model_name="person",
            name="mails_language",
            field=models.CharField(blank=True, db_default="", max_length=10),
        ),
        migrations.AddField(
            model_name="person",
            name="pages_language",
            field=models.CharField(blank=True, db_default="", max_length=10),
        ),
        migrations.AddField(
            model_name="person",
            name="time_zone",
            field=models.CharField(blank=True, db_default="", max_length=60),
        ),
        migrations.AddField(
            model_name="person",
            name="unwanted",
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddConstraint(
            model_name="person",
            constraint=models.CheckConstraint(
                condition=models.Q(("pages_language__in", ["", "en", "ja"])), name="person_pages_language_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="person",
            constraint=models.CheckConstraint(
                condition=models.Q(("mails_language__in", ["", "en", "ja"])), name="person_mails_language_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="person",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "unwanted__contained_by",
                        ["approval.decided", "generation.made", "rotation.due", "run.finished", "run.waiting"],
                    )
                ),
                name="person_turns_off_voluntary_notices_only",
            ),
        ),
    ]
