"""While the emergency stop of its environment is on, no chunk is meant to be sent."""

from django.db import migrations

CHUNKS = """
CREATE FUNCTION backups_chunk_guard_stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM kvops_emergencystop s JOIN backups_cleanupstage g ON g.environment_id = s.environment_id
             WHERE g.id = NEW.stage_id AND s.released_at IS NULL) THEN
    RAISE EXCEPTION 'no chunk is sent while the emergency stop is on' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER chunk_guard_stop BEFORE UPDATE ON backups_cleanupchunk
  FOR EACH ROW WHEN (NEW.state = 'intended' AND OLD.state <> 'intended') EXECUTE FUNCTION backups_chunk_guard_stop();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0062_guards_of_copies"), ("kvops", "0151_guards_of_stops")]

    operations = [
        migrations.RunSQL(
            CHUNKS, "DROP TRIGGER chunk_guard_stop ON backups_cleanupchunk; DROP FUNCTION backups_chunk_guard_stop;"
        )
    ]
