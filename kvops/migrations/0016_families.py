"""Requests for one key family each, and the mark of a family that was registered on a page."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0015_more_sentences"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="preparedchange",
            name="change_of_environments_or_policy",
        ),
        migrations.RemoveConstraint(
            model_name="preparedchange",
            name="change_one_open_per_kind",
        ),
        migrations.AddField(
            model_name="family",
            name="registration",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="families",
                to="kvops.preparedchange",
            ),
        ),
        migrations.AddField(
            model_name="preparedchange",
            name="about",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.AlterField(
            model_name="approvalrequest",
            name="kind",
            field=models.CharField(
                choices=[
                    ("delete_keys", "delete keys"),
                    ("environment", "change environments"),
                    ("policy", "change the policy"),
                    ("family", "register a key family"),
                    ("release_stop", "release an emergency stop"),
                    ("restore", "restore keys"),
                    ("delete_generations", "prune backups"),
                    ("drill", "restore drills"),
                    ("investigation", "prune an investigation backup"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="preparedchange",
            name="kind",
            field=models.CharField(
                choices=[
                    ("delete_keys", "delete keys"),
                    ("environment", "change environments"),
                    ("policy", "change the policy"),
                    ("family", "register a key family"),
                    ("release_stop", "release an emergency stop"),
                    ("restore", "restore keys"),
                    ("delete_generations", "prune backups"),
                    ("drill", "restore drills"),
                    ("investigation", "prune an investigation backup"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="preparedchange",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["environment", "policy", "family"])),
                name="change_of_environments_or_policy",
            ),
        ),
        migrations.AddConstraint(
            model_name="preparedchange",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "family"), models.Q(("about", ""), _negated=True)),
                    models.Q(models.Q(("kind", "family"), _negated=True), ("about", "")),
                    _connector="OR",
                ),
                name="change_about_a_pattern",
            ),
        ),
        migrations.AddConstraint(
            model_name="preparedchange",
            constraint=models.UniqueConstraint(
                condition=models.Q(("applied_at__isnull", True), ("discarded_at__isnull", True)),
                fields=("kind", "about"),
                name="change_one_open_per_kind",
            ),
        ),
    ]
