"""The rows of a comparison in progress hold packed digests.

The table is a scratch table: a check whose rows are gone starts over, so it is emptied first.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0012_sentences")]

    operations = [
        migrations.RunSQL("TRUNCATE backups_checkrow", migrations.RunSQL.noop),
        migrations.RemoveField("checkrow", "fields"),
        migrations.RemoveField("checkrow", "by_rule"),
        migrations.AddField("checkrow", "fields", models.BinaryField(null=True)),
        migrations.AddField("checkrow", "by_rule", models.JSONField(null=True)),
        migrations.AlterField(
            "checkrow",
            "check_run",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="staged",
                to="backups.check",
            ),
        ),
        migrations.RunSQL(migrations.RunSQL.noop, "TRUNCATE backups_checkrow"),
    ]
