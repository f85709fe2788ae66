"""Runs that look at the deployed code."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0007_references"),
    ]

    operations = [
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[
                    ("scan", "scan"),
                    ("backup", "backup"),
                    ("masters", "backup of master data"),
                    ("verify", "verification"),
                    ("check", "integrity check"),
                    ("delete", "deletion"),
                    ("confirm", "proof of absence"),
                    ("reconcile", "listing of the bucket"),
                    ("late_check", "late check"),
                    ("preview", "preview of a restore"),
                    ("restore", "restore"),
                    ("undo", "undoing of a deletion"),
                    ("prune", "prune run"),
                    ("comparison", "comparison of a backup"),
                    ("drill", "restore drill"),
                    ("prune_investigation", "prune of an investigation backup"),
                    ("look", "look at the deployed code"),
                ],
                max_length=20,
            ),
        ),
    ]
