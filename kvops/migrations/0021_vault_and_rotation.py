"""The 1Password vault of an environment, the runs that keep backups in it, and families whose values rotate."""

from django.db import migrations, models
from django.db.models import Q

KINDS_OF_RUNS = [
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
    ("vault", "keeping of a backup in 1Password"),
    ("vault_check", "look into a 1Password vault"),
]


class Migration(migrations.Migration):
    dependencies = [("kvops", "0020_past_kvops")]

    operations = [
        migrations.AlterField("run", "kind", models.CharField(choices=KINDS_OF_RUNS, max_length=20)),
        migrations.AddField(
            "environment", "vault", models.CharField(blank=True, db_default="", default="", max_length=100)
        ),
        migrations.AddField("family", "rotate_days", models.PositiveSmallIntegerField(db_default=0, default=0)),
        migrations.AddConstraint(
            "family",
            models.CheckConstraint(
                name="family_only_settings_rotate", condition=Q(rotate_days=0) | Q(category="settings")
            ),
        ),
    ]
