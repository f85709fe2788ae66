"""Scratch namespaces, drills, and approvals that stand for them."""

import datetime as dt

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0321_guards_of_disposals"),
    ]

    operations = [
        migrations.CreateModel(
            name="Scratch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("binding", models.CharField(max_length=100)),
                ("namespace_id", models.CharField(max_length=64, unique=True)),
                ("title", models.CharField(max_length=512)),
            ],
            options={
                "verbose_name_plural": "scratches",
            },
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_one_per_approval_and_kind",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_is_approved",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_in_a_worker",
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="standing_until",
            field=models.DateTimeField(blank=True, null=True),
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
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("standing_until__isnull", True), models.Q(("kind", "drill"), _negated=True)),
                    models.Q(
                        ("kind", "drill"),
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
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("standing_until__isnull", True),
                    models.Q(
                        models.Q(("state", "used"), _negated=True),
                        models.Q(("use_by__isnull", True), ("use_by", models.F("standing_until")), _connector="OR"),
                    ),
                    _connector="OR",
                ),
                name="approval_standing_is_not_used_up",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", ["delete", "restore", "undo", "prune", "drill"]), _negated=True),
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
                    models.Q(("kind__in", ["delete", "restore", "undo", "prune", "drill"]), _negated=True),
                    ("foreground", False),
                    _connector="OR",
                ),
                name="run_destructive_in_a_worker",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "drill"), _negated=True),
                fields=("approval", "kind"),
                name="run_one_per_approval_and_kind",
            ),
        ),
        migrations.AddField(
            model_name="scratch",
            name="environment",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT, related_name="scratch", to="kvops.environment"
            ),
        ),
    ]
