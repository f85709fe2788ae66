"""A drill runs under an approval that stands; its namespace is bound as nothing else."""

from importlib import import_module

from django.db import migrations

_RESTORES = import_module("kvops.migrations.0101_guards_of_restores")
_PRUNES = import_module("kvops.migrations.0321_guards_of_disposals")

STANDING = """
CREATE FUNCTION kvops_approval_guard_standing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.standing_until IS DISTINCT FROM OLD.standing_until THEN
    RAISE EXCEPTION 'how long an approval stands cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER approval_guard_standing BEFORE UPDATE ON kvops_approvalrequest
  FOR EACH ROW EXECUTE FUNCTION kvops_approval_guard_standing();
"""

RUNS = """
CREATE FUNCTION kvops_run_guard_drills() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'drill' AND a.state = 'approved' AND a.subject = NEW.subject
        AND a.environment_id = NEW.environment_id AND a.standing_until > now()) THEN
    RAISE EXCEPTION 'a drill needs an approval that stands in its environment' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_drills BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.kind = 'drill') EXECUTE FUNCTION kvops_run_guard_drills();
"""

SCRATCH = """
CREATE FUNCTION kvops_scratch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    RAISE EXCEPTION 'the scratch namespaces are never truncated' USING ERRCODE = 'restrict_violation';
  END IF;
  IF EXISTS (SELECT FROM kvops_namespace n JOIN kvops_scratch s ON s.namespace_id = n.namespace_id
             WHERE n.namespace_id = NEW.namespace_id) THEN
    RAISE EXCEPTION 'a scratch namespace is bound as nothing else' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER scratch_guard AFTER INSERT OR UPDATE ON kvops_scratch
  FOR EACH ROW EXECUTE FUNCTION kvops_scratch_guard();
CREATE TRIGGER scratch_guard_truncate BEFORE TRUNCATE ON kvops_scratch
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_scratch_guard();
CREATE TRIGGER scratch_guard_namespace AFTER INSERT OR UPDATE ON kvops_namespace
  FOR EACH ROW EXECUTE FUNCTION kvops_scratch_guard();
"""

# The guard of runs that use an approval up does not speak of those that only carry one.
_USES = "only what writes or deletes uses up an approval"
_KINDS = "'delete', 'restore', 'undo', 'prune'"
BEFORE = _PRUNES._runs(_KINDS, _USES, _PRUNES.PRUNE)
AFTER = _PRUNES._runs(f"{_KINDS}, 'drill'", _USES, _PRUNES.PRUNE)


class Migration(migrations.Migration):
    dependencies = [("kvops", "0330_drills")]

    operations = [
        migrations.RunSQL(
            STANDING,
            "DROP TRIGGER approval_guard_standing ON kvops_approvalrequest;"
            " DROP FUNCTION kvops_approval_guard_standing;",
        ),
        migrations.RunSQL(
            _RESTORES._approved(" AND NEW.kind NOT IN ('undo', 'drill')"),
            _RESTORES._approved(" AND NEW.kind <> 'undo'"),
        ),
        migrations.RunSQL(AFTER, BEFORE),
        migrations.RunSQL(RUNS, "DROP TRIGGER run_guard_drills ON kvops_run; DROP FUNCTION kvops_run_guard_drills;"),
        migrations.RunSQL(
            SCRATCH,
            """
            DROP TRIGGER scratch_guard_namespace ON kvops_namespace;
            DROP TRIGGER scratch_guard_truncate ON kvops_scratch;
            DROP TRIGGER scratch_guard ON kvops_scratch;
            DROP FUNCTION kvops_scratch_guard;
            """,
        ),
    ]
