"""What a drill showed stays as it was written."""

from django.db import migrations

GUARDS = """
CREATE FUNCTION backups_drill_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a drill is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.finished_at IS NOT NULL AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a drill that is over cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER drill_guard BEFORE UPDATE OR DELETE ON backups_drill
  FOR EACH ROW EXECUTE FUNCTION backups_drill_guard();
CREATE TRIGGER drilled_guard BEFORE UPDATE OR DELETE ON backups_drilledbackup
  FOR EACH ROW EXECUTE FUNCTION backups_drill_guard();
CREATE TRIGGER drill_guard_truncate BEFORE TRUNCATE ON backups_drill
  FOR EACH STATEMENT EXECUTE FUNCTION backups_drill_guard();
CREATE TRIGGER drilled_guard_truncate BEFORE TRUNCATE ON backups_drilledbackup
  FOR EACH STATEMENT EXECUTE FUNCTION backups_drill_guard();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0350_drills")]

    operations = [
        migrations.RunSQL(
            GUARDS,
            """
            DROP TRIGGER drilled_guard_truncate ON backups_drilledbackup;
            DROP TRIGGER drill_guard_truncate ON backups_drill;
            DROP TRIGGER drilled_guard ON backups_drilledbackup;
            DROP TRIGGER drill_guard ON backups_drill;
            DROP FUNCTION backups_drill_guard;
            """,
        ),
    ]
