"""A backup keeps the endpoint and the account of its bucket, and a verification heals a damaged backup."""

from importlib import import_module

from django.db import migrations, models

# Backups in the current bucket of their environment; for others only the name of the bucket is known.
KNOWN = """
UPDATE backups_generation g SET endpoint = e.r2_endpoint, account_id = e.account_id
  FROM kvops_environment e WHERE e.id = g.environment_id AND e.r2_bucket = g.bucket;
"""

# A finished backup keeps its place. Only a verification at work finds a damaged backup good again.
PLACE = """
CREATE FUNCTION backups_place_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.status <> 'writing' AND (NEW.endpoint, NEW.account_id) IS DISTINCT FROM (OLD.endpoint, OLD.account_id) THEN
    RAISE EXCEPTION 'what a finished backup is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.status = 'damaged' AND NEW.status = 'verified' AND NOT EXISTS (
      SELECT FROM kvops_run r WHERE r.id = NEW.verify_run_id AND r.kind = 'verify' AND r.state = 'running') THEN
    RAISE EXCEPTION 'a damaged backup is verified by the run of a verification' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER place_guard BEFORE UPDATE ON backups_generation
  FOR EACH ROW EXECUTE FUNCTION backups_place_guard();
"""

BEFORE = import_module("backups.migrations.0002_guards").BACKUPS.partition("CREATE TRIGGER")[0]
OLD_MOVES = BEFORE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
MOVES = OLD_MOVES.replace("'verified>damaged',", "'verified>damaged', 'damaged>verified',")


class Migration(migrations.Migration):
    dependencies = [("backups", "0002_guards")]

    operations = [
        migrations.AddField(
            "generation", "endpoint", models.CharField(blank=True, db_default="", default="", max_length=200)
        ),
        migrations.AddField(
            "generation", "account_id", models.CharField(blank=True, db_default="", default="", max_length=64)
        ),
        migrations.AlterField(
            "generationentry",
            "outcome",
            models.CharField(
                choices=[
                    ("planned", "not read yet"),
                    ("kept", "in the backup"),
                    ("expired", "expired meanwhile"),
                    ("vanished", "vanished meanwhile"),
                    ("unreadable", "could not be read"),
                ],
                default="planned",
                max_length=10,
            ),
        ),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        migrations.RunSQL(PLACE, "DROP FUNCTION backups_place_guard CASCADE;"),
        migrations.RunSQL(MOVES, OLD_MOVES),
    ]
