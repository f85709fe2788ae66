"""The deletion of copies runs under an approval to delete copies, in its environment."""

from django.db import migrations

PRUNE = """
  IF NEW.kind = 'prune' AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'delete_generations' AND a.environment_id = NEW.environment_id) THEN
    RAISE EXCEPTION 'the deletion of copies needs an approval to delete copies of its environment'
      USING ERRCODE = 'restrict_violation';
  END IF;"""


def _runs(kinds: str, uses: str, prune: str) -> str:
    """The guard of 0101 with another kind."""
    return f"""
CREATE OR REPLACE FUNCTION kvops_run_guard_restores() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.finished_at IS DISTINCT FROM OLD.finished_at THEN
      RAISE EXCEPTION 'when a run succeeded cannot be edited' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.kind NOT IN ({kinds}) THEN
    RAISE EXCEPTION '{uses}' USING ERRCODE = 'restrict_violation';
  END IF;{prune}
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
"""


class Migration(migrations.Migration):
    dependencies = [("kvops", "0320_dispose_kind")]

    operations = [
        migrations.RunSQL(
            _runs("'delete', 'restore', 'undo', 'prune'", "only what writes or deletes uses up an approval", PRUNE),
            _runs("'delete', 'restore', 'undo'", "only what writes to KV uses up an approval", ""),
        ),
    ]
