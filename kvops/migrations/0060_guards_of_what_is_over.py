"""Two doors the first guards left open: editing what was decided, and running again what ran.

A request changes only by a move, and the database dates it; a run moves as drawn, and one that had an
approval stays, because its approval could otherwise carry a second one.
"""

from django.db import migrations

APPROVALS = """
CREATE FUNCTION kvops_approval_guard_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state = OLD.state AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'an approval request changes only when it moves' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.decided_at IS DISTINCT FROM OLD.decided_at AND NEW.decided_at NOT BETWEEN now() AND clock_timestamp())
     OR (NEW.used_at IS DISTINCT FROM OLD.used_at AND NEW.used_at NOT BETWEEN now() AND clock_timestamp()) THEN
    RAISE EXCEPTION 'the database says when a request is decided and used' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER approval_guard_moves BEFORE UPDATE ON kvops_approvalrequest
  FOR EACH ROW EXECUTE FUNCTION kvops_approval_guard_moves();
"""

RUNS = """
CREATE FUNCTION kvops_run_guard_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    RAISE EXCEPTION 'the runs are never truncated' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN
    IF OLD.approval_id IS NOT NULL THEN
      RAISE EXCEPTION 'a run that had an approval is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.kind = 'delete' AND NEW.approval_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM kvops_approvalrequest a
        WHERE a.id = NEW.approval_id AND a.kind = 'delete_keys' AND a.environment_id = NEW.environment_id) THEN
      RAISE EXCEPTION 'a deletion needs an approval to delete keys of its environment'
        USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'queued>running', 'running>succeeded', 'running>failed', 'running>stopped',
      'failed>queued', 'stopped>queued') THEN
    RAISE EXCEPTION 'a run cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_moves BEFORE INSERT OR UPDATE OR DELETE ON kvops_run
  FOR EACH ROW EXECUTE FUNCTION kvops_run_guard_moves();
CREATE TRIGGER run_guard_truncate BEFORE TRUNCATE ON kvops_run
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_run_guard_moves();
"""


class Migration(migrations.Migration):
    dependencies = [("kvops", "0010_expiring_keys")]

    operations = [
        migrations.RunSQL(
            APPROVALS,
            "DROP TRIGGER approval_guard_moves ON kvops_approvalrequest; DROP FUNCTION kvops_approval_guard_moves;",
        ),
        migrations.RunSQL(
            RUNS,
            """
            DROP TRIGGER run_guard_truncate ON kvops_run;
            DROP TRIGGER run_guard_moves ON kvops_run;
            DROP FUNCTION kvops_run_guard_moves;
            """,
        ),
    ]
