"""The copy of an investigation goes when that is closed or over, under the approval that stands for it.

Other copies of caches go at their date without a newer one.
"""

from importlib import import_module

from django.db import migrations

_PRUNES = import_module("backups.migrations.0321_guards_of_disposals")

_PRUNE_ONLY = _PRUNES.DELETING
_AGE = _PRUNE_ONLY[_PRUNE_ONLY.index("    IF now() <") : _PRUNE_ONLY.index("    IF EXISTS (SELECT FROM backups_pin")]
_NEWEST = _PRUNE_ONLY[_PRUNE_ONLY.index("    IF NOT EXISTS (SELECT FROM backups_generation") :]
_NEWEST = _NEWEST[: _NEWEST.index("    END IF;") + len("    END IF;")]

DELETING = _PRUNE_ONLY.replace(
    _AGE,
    f"""    IF OLD.purpose = 'investigation' THEN
    IF NOT EXISTS (
        SELECT FROM backups_investigation i
        JOIN kvops_run r ON r.id = i.run_id
        JOIN kvops_approvalrequest a ON a.id = r.approval_id
        WHERE i.generation_id = OLD.id AND (i.closed_at IS NOT NULL OR i.ends_at <= statement_timestamp())
          AND r.kind = 'prune_investigation' AND r.state = 'running' AND r.subject = 'investigation:' || i.id
          AND a.kind = 'investigation' AND a.state = 'approved' AND a.subject = r.subject
          AND a.standing_until > now()) THEN
      RAISE EXCEPTION 'the copy of an investigation is deleted at its end, by the run of its approval'
        USING ERRCODE = 'restrict_violation';
    END IF;
    ELSE
{_AGE}    END IF;
""",
).replace(
    _NEWEST,
    _NEWEST.replace("IF NOT EXISTS", "IF OLD.category <> 'cache' AND OLD.purpose <> 'investigation' AND NOT EXISTS"),
)

GUARDS = """
CREATE FUNCTION backups_investigation_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'an investigation is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.closed_at IS NOT NULL OR NEW.over_at IS NOT NULL OR NEW.run_id IS NOT NULL THEN
      RAISE EXCEPTION 'an investigation starts open' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.purpose = 'investigation'
                     AND g.environment_id = NEW.environment_id) THEN
      RAISE EXCEPTION 'an investigation has a copy of its own' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.environment_id, NEW.title, NEW.reason, NEW.generation_id, NEW.asked_by_id, NEW.created_at,
      NEW.ends_at)
     IS DISTINCT FROM
     (OLD.id, OLD.environment_id, OLD.title, OLD.reason, OLD.generation_id, OLD.asked_by_id, OLD.created_at,
      OLD.ends_at)
     OR (OLD.closed_at IS NOT NULL AND (NEW.closed_at, NEW.closed_by_id, NEW.closed_because)
           IS DISTINCT FROM (OLD.closed_at, OLD.closed_by_id, OLD.closed_because))
     OR (OLD.run_id IS NOT NULL AND NEW.run_id IS DISTINCT FROM OLD.run_id)
     OR OLD.over_at IS NOT NULL THEN
    RAISE EXCEPTION 'what an investigation is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.over_at IS NOT NULL AND EXISTS (
      SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.status NOT IN ('deleted', 'writing')) THEN
    RAISE EXCEPTION 'an investigation whose copy is there is not over' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER investigation_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_investigation
  FOR EACH ROW EXECUTE FUNCTION backups_investigation_guard();
CREATE TRIGGER investigation_guard_truncate BEFORE TRUNCATE ON backups_investigation
  FOR EACH STATEMENT EXECUTE FUNCTION backups_investigation_guard();

CREATE FUNCTION backups_pin_guard_investigations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.purpose = 'investigation') THEN
    RAISE EXCEPTION 'the copy of an investigation is not pinned' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER pin_guard_investigations BEFORE INSERT ON backups_pin
  FOR EACH ROW EXECUTE FUNCTION backups_pin_guard_investigations();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0361_investigations"), ("kvops", "0333_guards_of_investigations")]

    operations = [
        migrations.RunSQL(
            _PRUNES._copies("".join(_PRUNES.MOVES), DELETING),
            _PRUNES._copies("".join(_PRUNES.MOVES), _PRUNE_ONLY),
        ),
        migrations.RunSQL(
            GUARDS,
            """
            DROP TRIGGER pin_guard_investigations ON backups_pin;
            DROP FUNCTION backups_pin_guard_investigations;
            DROP TRIGGER investigation_guard_truncate ON backups_investigation;
            DROP TRIGGER investigation_guard ON backups_investigation;
            DROP FUNCTION backups_investigation_guard;
            """,
        ),
    ]
