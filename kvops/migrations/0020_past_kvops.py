"""Two kinds of runs: the search for changes outside KVOps, and the comparison of one setting."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0019_bulk_changes"),
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
                    ("search", "search of a deployed script"),
                    ("change", "change of a key"),
                    ("reverse_change", "preparation of a reverse change"),
                    ("erase_proposal", "erasure of a proposal"),
                    ("clear", "scheduled clearing"),
                    ("bulk_change", "bulk change of a cache"),
                    ("outside", "search for changes outside KVOps"),
                    ("compare_setting", "comparison of a setting"),
                ],
                max_length=20,
            ),
        ),
    ]
