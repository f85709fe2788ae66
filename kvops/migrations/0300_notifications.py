"""Notifications, the channel of an environment, and the language of a person."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0280_family_encrypt"),
    ]

    operations = [
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event", models.CharField(max_length=40)),
                ("subject", models.CharField(max_length=100)),
                ("occasion", models.CharField(blank=True, max_length=100)),
                ("language", models.CharField(max_length=10)),
                ("title", models.CharField(max_length=300)),
                ("lines", models.JSONField(default=list)),
                ("link", models.CharField(blank=True, max_length=500)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "to be sent"),
                            ("sending", "being sent"),
                            ("delivered", "delivered"),
                            ("failed", "not delivered"),
                            ("dropped", "given up"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("tries", models.PositiveIntegerField(default=0)),
                ("unclear", models.PositiveIntegerField(default=0)),
                ("next_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("claimed_at", models.DateTimeField(blank=True, null=True)),
                ("delivered_at", models.DateTimeField(blank=True, null=True)),
                ("error", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.AddField(
            model_name="environment",
            name="language",
            field=models.CharField(choices=[("en", "English"), ("ja", "Japanese")], default="en", max_length=10),
        ),
        migrations.AddField(
            model_name="environment",
            name="slack",
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AddField(
            model_name="person",
            name="language",
            field=models.CharField(blank=True, max_length=10),
        ),
        migrations.AddConstraint(
            model_name="environment",
            constraint=models.CheckConstraint(
                condition=models.Q(("language__in", ["en", "ja"])), name="environment_language_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="person",
            constraint=models.CheckConstraint(
                condition=models.Q(("language__in", ["", "en", "ja"])), name="person_language_is_known"
            ),
        ),
        migrations.AddField(
            model_name="notification",
            name="environment",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.environment"
            ),
        ),
        migrations.AddField(
            model_name="notification",
            name="person",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="notifications",
                to="kvops.person",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("state__in", ["waiting", "sending"])),
                fields=["next_at"],
                name="notification_to_send",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(condition=models.Q(("state", "failed")), fields=["-id"], name="notification_failed"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(fields=["subject", "event"], name="notification_by_subject"),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.UniqueConstraint(
                condition=models.Q(("person__isnull", False)),
                fields=("event", "subject", "occasion", "person"),
                name="notification_once_per_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.UniqueConstraint(
                condition=models.Q(("person__isnull", True)),
                fields=("event", "subject", "occasion", "environment"),
                name="notification_once_per_channel",
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.CheckConstraint(
                condition=models.Q(("person__isnull", False), ("environment__isnull", False), _connector="OR"),
                name="notification_has_a_recipient",
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["waiting", "sending", "delivered", "failed", "dropped"])),
                name="notification_state_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("delivered_at__isnull", False), ("state", "delivered")),
                    models.Q(models.Q(("state", "delivered"), _negated=True), ("delivered_at__isnull", True)),
                    _connector="OR",
                ),
                name="notification_delivered_has_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "sending"), _negated=True), ("claimed_at__isnull", False), _connector="OR"
                ),
                name="notification_sending_was_claimed",
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "failed"), _negated=True),
                    models.Q(("error", ""), _negated=True),
                    _connector="OR",
                ),
                name="notification_failed_says_why",
            ),
        ),
    ]
