"""The keys that a stage leaves out, because they differ from D1, are fixed together with its list of keys."""

from django.db import migrations, models

FROZEN = """
CREATE FUNCTION backups_stage_guard_left_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the keys that a stage leaves out are frozen' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER stage_guard_left_out BEFORE UPDATE ON backups_cleanupstage
  FOR EACH ROW WHEN (OLD.state NOT IN ('waiting', 'frozen') AND NEW.left_out IS DISTINCT FROM OLD.left_out)
  EXECUTE FUNCTION backups_stage_guard_left_out();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0007_accepted_rows")]

    operations = [
        migrations.AddField(
            "cleanupstage",
            "left_out",
            models.JSONField(blank=True, default=list, db_default=models.Value([], models.JSONField())),
        ),
        migrations.RunSQL(FROZEN, "DROP FUNCTION backups_stage_guard_left_out CASCADE;"),
    ]
