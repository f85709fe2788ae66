"""A run that deletes copies needs an approval of its own kind and runs in a worker, like all that is destructive."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0310_accepted_risks"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_is_approved",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_in_a_worker",
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
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", ["delete", "restore", "undo", "prune"]), _negated=True),
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
                    models.Q(("kind__in", ["delete", "restore", "undo", "prune"]), _negated=True),
                    ("foreground", False),
                    _connector="OR",
                ),
                name="run_destructive_in_a_worker",
            ),
        ),
    ]
