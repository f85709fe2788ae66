"""Schedules, each time one was due, and the runs that were started by it."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0300_notifications"),
    ]

    operations = [
        migrations.CreateModel(
            name="Firing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("due_at", models.DateTimeField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("started", "started"),
                            ("nothing", "nothing to do"),
                            ("refused", "could not be started"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=1000)),
                ("missed", models.PositiveIntegerField(default=0)),
                ("missed_since", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name="run",
            name="firing",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="runs",
                to="kvops.firing",
            ),
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("job", models.CharField(max_length=40)),
                ("expression", models.CharField(max_length=100)),
                ("zone", models.CharField(max_length=64)),
                ("next_at", models.DateTimeField()),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("paused_reason", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to="kvops.environment"
                    ),
                ),
                (
                    "paused_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="firing",
            name="schedule",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="firings", to="kvops.schedule"
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.UniqueConstraint(
                fields=("job", "environment"), name="schedule_once_per_environment", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("paused_at__isnull", True), ("paused_by__isnull", True), ("paused_reason", "")),
                    models.Q(
                        ("paused_at__isnull", False),
                        ("paused_by__isnull", False),
                        models.Q(("paused_reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="schedule_paused_by_someone_who_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="firing",
            constraint=models.UniqueConstraint(fields=("schedule", "due_at"), name="firing_once_per_due_time"),
        ),
        migrations.AddConstraint(
            model_name="firing",
            constraint=models.CheckConstraint(
                condition=models.Q(("outcome__in", ["started", "nothing", "refused"])), name="firing_outcome_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="firing",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("outcome", "refused"), _negated=True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="firing_refused_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="firing",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("missed", 0), ("missed_since__isnull", True)),
                    models.Q(
                        ("missed__gt", 0), ("missed_since__isnull", False), ("missed_since__lt", models.F("due_at"))
                    ),
                    _connector="OR",
                ),
                name="firing_missed_since_a_time",
            ),
        ),
    ]
