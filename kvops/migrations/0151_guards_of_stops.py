"""A stop is released by two people or not at all, and while it is on nothing approved begins."""

from django.db import migrations

STOPS = """
CREATE FUNCTION kvops_stop_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'an emergency stop is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.released_at IS NOT NULL THEN
      RAISE EXCEPTION 'an emergency stop starts in force' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.released_at IS NOT NULL OR (NEW.id, NEW.environment_id, NEW.by_id, NEW.at, NEW.reason)
     IS DISTINCT FROM (OLD.id, OLD.environment_id, OLD.by_id, OLD.at, OLD.reason) THEN
    RAISE EXCEPTION 'an emergency stop cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.approval_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'release_stop' AND a.state = 'used'
        AND a.subject = 'stop:' || NEW.id) THEN
    RAISE EXCEPTION 'an emergency stop is released by a used approval of its release'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stop_guard BEFORE INSERT OR UPDATE OR DELETE ON kvops_emergencystop
  FOR EACH ROW EXECUTE FUNCTION kvops_stop_guard();
CREATE TRIGGER stop_guard_truncate BEFORE TRUNCATE ON kvops_emergencystop
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_stop_guard();
"""

RUNS = """
CREATE FUNCTION kvops_run_guard_stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM kvops_emergencystop s
             WHERE s.environment_id = NEW.environment_id AND s.released_at IS NULL) THEN
    RAISE EXCEPTION 'no approved run begins while the emergency stop is on' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_stop BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.approval_id IS NOT NULL) EXECUTE FUNCTION kvops_run_guard_stop();
"""


class Migration(migrations.Migration):
    dependencies = [("kvops", "0150_emergency_stop")]

    operations = [
        migrations.RunSQL(
            STOPS,
            """
            DROP TRIGGER stop_guard_truncate ON kvops_emergencystop;
            DROP TRIGGER stop_guard ON kvops_emergencystop;
            DROP FUNCTION kvops_stop_guard;
            """,
        ),
        migrations.RunSQL(RUNS, "DROP TRIGGER run_guard_stop ON kvops_run; DROP FUNCTION kvops_run_guard_stop;"),
    ]
