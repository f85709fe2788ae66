"""The copy of an investigation is deleted under an approval that stands for that investigation."""

from importlib import import_module

from django.db import migrations

_RESTORES = import_module("kvops.migrations.0101_guards_of_restores")
_PRUNES = import_module("kvops.migrations.0321_guards_of_disposals")
_DRILLS = import_module("kvops.migrations.0331_guards_of_drills")

RUNS = """
CREATE FUNCTION kvops_run_guard_investigations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'investigation' AND a.state = 'approved' AND a.subject = NEW.subject
        AND a.environment_id = NEW.environment_id AND a.standing_until > now()
        AND a.approver_id IS DISTINCT FROM NEW.started_by_id) THEN
    RAISE EXCEPTION 'the copy of an investigation goes under an approval that stands for it, by another person'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_investigations BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.kind = 'prune_investigation') EXECUTE FUNCTION kvops_run_guard_investigations();
"""
_KINDS = f"{_DRILLS._KINDS}, 'drill', 'prune_investigation'"


class Migration(migrations.Migration):
    dependencies = [("kvops", "0332_investigations")]

    operations = [
        migrations.RunSQL(
            _RESTORES._approved(" AND NEW.kind NOT IN ('undo', 'drill', 'prune_investigation')"),
            _RESTORES._approved(" AND NEW.kind NOT IN ('undo', 'drill')"),
        ),
        migrations.RunSQL(_PRUNES._runs(_KINDS, _DRILLS._USES, _PRUNES.PRUNE), _DRILLS.AFTER),
        migrations.RunSQL(
            RUNS, "DROP TRIGGER run_guard_investigations ON kvops_run; DROP FUNCTION kvops_run_guard_investigations;"
        ),
    ]
