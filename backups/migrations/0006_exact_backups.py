"""A backup says whether it is of one exact key. A finished backup keeps that."""

from importlib import import_module

from django.db import migrations, models

KNOWN = """
UPDATE backups_generation g SET exact = true
  FROM backups_cleanupstage s JOIN backups_cleanuprequest q ON q.id = s.request_id
 WHERE s.generation_id = g.id AND q.exact;
"""

WHOLE = import_module("backups.migrations.0003_place_of_backups").PLACE.partition("CREATE TRIGGER")[0]
OLD_PLACE = WHOLE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
PLACE = OLD_PLACE.replace("NEW.account_id)", "NEW.account_id, NEW.exact)").replace(
    "OLD.account_id)", "OLD.account_id, OLD.exact)"
)


class Migration(migrations.Migration):
    dependencies = [("backups", "0005_find_names")]

    operations = [
        migrations.AddField("generation", "exact", models.BooleanField(db_default=False, default=False)),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        migrations.RunSQL(PLACE, OLD_PLACE),
    ]
