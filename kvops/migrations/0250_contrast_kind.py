"""One more kind of run: the comparison of a copy."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0182_skew"),
    ]

    operations = [
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
                    ("comparison", "comparison of a copy"),
                ],
                max_length=20,
            ),
        ),
    ]
