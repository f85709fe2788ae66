"""One more kind of run: the listing of a bucket."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0153_run_tries"),
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
                ],
                max_length=20,
            ),
        ),
    ]
