"""A restore runs under an approval of its own; an undo under that of the deletion it undoes, for 72 hours."""

from django.db import migrations

RUN_COLUMNS = "id, kind, subject, approval_id, approval_digest, started_by_id, environment_id"


def _approved(exempt: str) -> str:
    """The guard of 0002; an undo is exempt from having the approval's own starter, its own rule follows."""
    old, new = (", ".join(f"{row}.{name}" for name in RUN_COLUMNS.split(", ")) for row in ("OLD", "NEW"))
    return f"""
CREATE OR REPLACE FUNCTION kvops_run_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.approval_id IS NOT NULL{exempt} AND NOT EXISTS (
        SELECT FROM kvops_approvalrequest a
        WHERE a.id = NEW.approval_id AND a.state = 'used' AND a.subject = NEW.subject
          AND a.starter_id = NEW.started_by_id) THEN
      RAISE EXCEPTION 'a run needs an approval of its subject, claimed by the person who starts it'
        USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF ({new})
     IS DISTINCT FROM
     ({old}) THEN
    RAISE EXCEPTION 'what a run does cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.epoch < OLD.epoch THEN
    RAISE EXCEPTION 'the epoch of a run never goes back' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
"""


RUNS = """
CREATE FUNCTION kvops_run_guard_restores() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.finished_at IS DISTINCT FROM OLD.finished_at THEN
      RAISE EXCEPTION 'when a run succeeded cannot be edited' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.kind NOT IN ('delete', 'restore', 'undo') THEN
    RAISE EXCEPTION 'only what writes to KV uses up an approval' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.kind = 'restore' AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'restore' AND a.environment_id = NEW.environment_id) THEN
    RAISE EXCEPTION 'a restore needs an approval to put keys back into its environment'
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.kind = 'undo' AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a JOIN kvops_run d ON d.approval_id = a.id AND d.kind = 'delete'
      WHERE a.id = NEW.approval_id AND a.kind = 'delete_keys' AND a.state = 'used' AND a.subject = NEW.subject
        AND a.environment_id = NEW.environment_id AND a.approver_id <> NEW.started_by_id
        AND d.state = 'succeeded' AND d.finished_at > now() - interval '72 hours') THEN
    RAISE EXCEPTION 'an undo needs a deletion that ended within 72 hours, and is not started by who approved that'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_restores BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.approval_id IS NOT NULL) EXECUTE FUNCTION kvops_run_guard_restores();
CREATE TRIGGER run_guard_succeeded BEFORE UPDATE ON kvops_run
  FOR EACH ROW WHEN (OLD.state = 'succeeded') EXECUTE FUNCTION kvops_run_guard_restores();
"""


class Migration(migrations.Migration):
    dependencies = [("kvops", "0100_restores")]

    operations = [
        migrations.RunSQL(_approved(" AND NEW.kind <> 'undo'"), _approved("")),
        migrations.RunSQL(
            RUNS,
            """
            DROP TRIGGER run_guard_succeeded ON kvops_run;
            DROP TRIGGER run_guard_restores ON kvops_run;
            DROP FUNCTION kvops_run_guard_restores;
            """,
        ),
    ]
