"""A row of a check that both sides have with equal fields is staged once, as a row of `both`."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0021_worker_expiry")]

    operations = [
        migrations.AlterField(
            model_name="checkrow",
            name="side",
            field=models.CharField(
                choices=[("backup", "Backup"), ("d1", "D1"), ("unread", "Unreadable"), ("both", "Both")], max_length=6
            ),
        ),
    ]
