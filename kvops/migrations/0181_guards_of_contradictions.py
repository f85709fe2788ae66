"""A rollback stays as it was found, is accepted once, and until then nothing approved begins."""

from django.db import migrations

ROLLBACKS = """
CREATE FUNCTION kvops_databaserollback_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a rollback is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.accepted_at IS NOT NULL THEN
      RAISE EXCEPTION 'a rollback starts in force' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.accepted_at IS NOT NULL OR (NEW.id, NEW.environment_id, NEW.manifest_key, NEW.modified_at, NEW.sequence,
      NEW.hash, NEW.our_sequence, NEW.our_hash, NEW.found_at)
     IS DISTINCT FROM (OLD.id, OLD.environment_id, OLD.manifest_key, OLD.modified_at, OLD.sequence,
      OLD.hash, OLD.our_sequence, OLD.our_hash, OLD.found_at) THEN
    RAISE EXCEPTION 'a rollback cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER rollback_guard BEFORE INSERT OR UPDATE OR DELETE ON kvops_databaserollback
  FOR EACH ROW EXECUTE FUNCTION kvops_databaserollback_guard();
CREATE TRIGGER rollback_guard_truncate BEFORE TRUNCATE ON kvops_databaserollback
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_databaserollback_guard();
"""

RUNS = """
CREATE FUNCTION kvops_run_guard_rollback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM kvops_databaserollback WHERE accepted_at IS NULL) THEN
    RAISE EXCEPTION 'no approved run begins while the database contradicts a bucket'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_rollback BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.approval_id IS NOT NULL) EXECUTE FUNCTION kvops_run_guard_rollback();
"""


class Migration(migrations.Migration):
    dependencies = [("kvops", "0180_contradictions")]

    operations = [
        migrations.RunSQL(
            ROLLBACKS,
            """
            DROP TRIGGER rollback_guard_truncate ON kvops_databaserollback;
            DROP TRIGGER rollback_guard ON kvops_databaserollback;
            DROP FUNCTION kvops_databaserollback_guard;
            """,
        ),
        migrations.RunSQL(
            RUNS,
            "DROP TRIGGER run_guard_rollback ON kvops_run; DROP FUNCTION kvops_run_guard_rollback;",
        ),
    ]
