"""Approvals that stand for the end of an investigation, and the runs that carry them."""

import datetime as dt

import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0331_guards_of_drills"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="approvalrequest",
            name="approval_stands_for_90_days",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_is_approved",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_in_a_worker",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_one_per_approval_and_kind",
        ),
        migrations.AlterField(
            model_name="approvalrequest",
            name="kind",
            field=models.CharField(
                choices=[
                    ("delete_keys", "delete keys"),
                    ("environment", "change environments"),
                    ("policy", "change the policy"),
                    ("release_stop", "release an emergency stop"),
                    ("restore", "put keys back"),
                    ("delete_generations", "delete copies"),
                    ("drill", "restore drills"),
                    ("investigation", "delete the copy of an investigation"),
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
                    ("release_stop", "release an emergency stop"),
                    ("restore", "put keys back"),
                    ("delete_generations", "delete copies"),
                    ("drill", "restore drills"),
                    ("investigation", "delete the copy of an investigation"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[
                    ("scan", "scan"),
                    ("backup", "backup"),
                    ("verify", "verification"),
                    ("check", "integrity check"),
                    ("delete", "deletion"),
                    ("confirm", "proof of absence"),
                    ("reconcile", "listing of the bucket"),
                    ("late_check", "late check"),
                    ("preview", "preview of a restore"),
                    ("restore", "restore"),
                    ("undo", "undoing of a deletion"),
                    ("prune", "deletion of copies"),
                    ("comparison", "comparison of a copy"),
                    ("drill", "restore drill"),
                    ("prune_investigation", "deletion of an investigation's copy"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("standing_until__isnull", True),
                        models.Q(("kind__in", ["drill", "investigation"]), _negated=True),
                    ),
                    models.Q(
                        ("kind__in", ["drill", "investigation"]),
                        ("standing_until__isnull", False),
                        (
                            "standing_until__lte",
                            django.db.models.expressions.CombinedExpression(
                                models.F("created_at"), "+", models.Value(dt.timedelta(days=90))
                            ),
                        ),
                    ),
                    _connector="OR",
                ),
                name="approval_stands_for_90_days",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("kind__in", ["delete", "restore", "undo", "prune", "drill", "prune_investigation"]),
                        _negated=True,
                    ),
                    models.Q(("approval__isnull", False), models.Q(("approval_digest", ""), _negated=True)),
                    _connector="OR",
                ),
                name="run_destructive_is_approved",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("kind__in", ["delete", "restore", "undo", "prune", "drill", "prune_investigation"]),
                        _negated=True,
                    ),
                    ("foreground", False),
                    _connector="OR",
                ),
                name="run_destructive_in_a_worker",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", ["drill", "prune_investigation"]), _negated=True),
                fields=("approval", "kind"),
                name="run_one_per_approval_and_kind",
            ),
        ),
    ]
