"""The rules of the database for bulk changes: their target, their approval, QA first, and when each part is set."""

from django.db import migrations

# The functions are edited as they are, whatever other migrations did to them.
EDIT = """
DO $do$
DECLARE body text;
BEGIN
  body := pg_get_functiondef('{function}()'::regprocedure);
  IF position($${old}$$ IN body) = 0 THEN
    RAISE EXCEPTION '{function} has changed';
  END IF;
  EXECUTE replace(body, $${old}$$, $${new}$$);
END $do$;
"""


def edited(function: str, old: str, new: str) -> migrations.RunSQL:
    """The function with another text at one place."""
    there = EDIT.format(function=function, old=old, new=new)
    return migrations.RunSQL(there, EDIT.format(function=function, old=new, new=old))


# The backup of a bulk change is made after the row, from the names that were chosen.
SOURCE = "g.status = 'verified' AND target.binding"
MADE_FOR_IT = (
    "(g.status = 'verified' AND NEW.operation = '' OR g.status = 'writing' AND NEW.operation <> '') AND target.binding"
)
BY = "a.kind = 'restore' AND a.subject = 'restore:' || NEW.id"
BY_ITS_OWN = (
    "a.kind = CASE NEW.operation WHEN '' THEN 'restore' ELSE 'bulk_change' END"
    " AND a.subject = CASE NEW.operation WHEN '' THEN 'restore:' ELSE 'bulkchange:' END || NEW.id"
)
RUN = "r.kind = 'restore' AND r.approval_id"
RUN_OF_ITS_OWN = "r.kind = CASE NEW.operation WHEN '' THEN 'restore' ELSE 'bulk_change' END AND r.approval_id"

# A bulk change is of a cache. In production it repeats an accepted one of an earlier environment.
RESTORES = """
CREATE FUNCTION backups_restore_guard_bulk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.operation <> OLD.operation THEN
    RAISE EXCEPTION 'what a restore writes cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' OR NEW.operation = '' OR NEW.state = OLD.state THEN
    RETURN NEW;
  END IF;
  IF NEW.state IN ('prepared', 'submitted', 'writing') AND NOT EXISTS (
      SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.status = 'verified'
        AND g.namespace_id = NEW.namespace_id) THEN
    RAISE EXCEPTION 'a bulk change needs the verified backup of its keys' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state IN ('submitted', 'writing') AND NOT EXISTS (
      SELECT FROM backups_bulkchange b JOIN kvops_family f ON f.id = b.family_id
      JOIN kvops_namespace n ON n.id = NEW.namespace_id
      WHERE b.restore_id = NEW.id AND b.operation = NEW.operation AND f.category = 'cache'
        AND f.binding = n.binding) THEN
    RAISE EXCEPTION 'only keys of a cache are changed many at once' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state IN ('submitted', 'writing')
     AND (SELECT production FROM kvops_environment WHERE id = NEW.environment_id) AND NOT EXISTS (
      SELECT FROM backups_bulkchange b
      JOIN backups_bulkchange q ON q.restore_id = b.repeats_id
      JOIN backups_restore r ON r.id = q.restore_id
      JOIN kvops_environment earlier ON earlier.id = r.environment_id
      JOIN kvops_environment here ON here.id = NEW.environment_id
      WHERE b.restore_id = NEW.id AND q.accepted_at IS NOT NULL AND q.operation = b.operation
        AND q.family_id = b.family_id AND q.member = b.member AND earlier."order" < here."order"
        AND (b.lifetime IS NULL OR q.lifetime IS NULL OR q.lifetime <= b.lifetime)
        AND (NEW.state = 'writing' OR q.accepted_at >= now() - interval '7 days')
        AND NOT EXISTS (
          SELECT FROM backups_restore u WHERE u.generation_id = r.generation_id AND u.namespace_id = r.namespace_id
            AND u.operation = '' AND (u.state = 'writing' OR u.state = 'done' AND u.written > 0))) THEN
    RAISE EXCEPTION 'a bulk change is accepted in QA before production' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restore_guard_bulk BEFORE INSERT OR UPDATE ON backups_restore
  FOR EACH ROW EXECUTE FUNCTION backups_restore_guard_bulk();
"""

# What a bulk change writes is fixed with its row. The time of an expiration is fixed once, by the start.
BULK_CHANGES = """
CREATE FUNCTION backups_bulkchange_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE its_state text; its_operation text;
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a bulk change is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  SELECT state, operation INTO its_state, its_operation FROM backups_restore WHERE id = NEW.restore_id;
  IF TG_OP = 'INSERT' THEN
    IF its_state <> 'preparing' OR its_operation <> NEW.operation OR NEW.expiration IS NOT NULL
       OR NEW.repeats_id IS NOT NULL OR NEW.accepted_at IS NOT NULL THEN
      RAISE EXCEPTION 'a bulk change starts with nothing written' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.restore_id, NEW.operation, NEW.family_id, NEW.scope, NEW.chosen_names, NEW.chosen_sha256, NEW.lifetime,
      NEW.until, NEW.member, NEW.value)
     IS DISTINCT FROM
     (OLD.restore_id, OLD.operation, OLD.family_id, OLD.scope, OLD.chosen_names, OLD.chosen_sha256, OLD.lifetime,
      OLD.until, OLD.member, OLD.value) THEN
    RAISE EXCEPTION 'what a bulk change writes cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.repeats_id IS DISTINCT FROM OLD.repeats_id AND its_state <> 'prepared' THEN
    RAISE EXCEPTION 'what a bulk change repeats cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.expiration IS DISTINCT FROM OLD.expiration AND (OLD.expiration IS NOT NULL OR its_state <> 'writing') THEN
    RAISE EXCEPTION 'the expiration is fixed once, by the start' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.accepted_at, NEW.accepted_by_id, NEW.accepted_note)
     IS DISTINCT FROM (OLD.accepted_at, OLD.accepted_by_id, OLD.accepted_note)
     AND (OLD.accepted_at IS NOT NULL OR its_state <> 'done') THEN
    RAISE EXCEPTION 'a bulk change is accepted once, when it is done' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER bulkchange_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_bulkchange
  FOR EACH ROW EXECUTE FUNCTION backups_bulkchange_guard();
CREATE TRIGGER bulkchange_guard_truncate BEFORE TRUNCATE ON backups_bulkchange
  FOR EACH STATEMENT EXECUTE FUNCTION backups_bulkchange_guard();

CREATE FUNCTION backups_restorechunk_guard_bulk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
      SELECT FROM backups_restore r LEFT JOIN backups_bulkchange b ON b.restore_id = r.id
      WHERE r.id = NEW.restore_id AND r.operation = 'expiration' AND b.expiration IS NULL) THEN
    RAISE EXCEPTION 'no key is written before its expiration is fixed' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restorechunk_guard_bulk BEFORE UPDATE ON backups_restorechunk
  FOR EACH ROW WHEN (NEW.state = 'intended' AND OLD.state <> 'intended')
  EXECUTE FUNCTION backups_restorechunk_guard_bulk();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0017_bulk_changes")]

    operations = [
        edited("backups_restore_guard", SOURCE, MADE_FOR_IT),
        edited("backups_restore_guard", BY, BY_ITS_OWN),
        edited("backups_restore_guard", RUN, RUN_OF_ITS_OWN),
        migrations.RunSQL(RESTORES, "DROP FUNCTION backups_restore_guard_bulk CASCADE;"),
        migrations.RunSQL(
            BULK_CHANGES,
            "DROP FUNCTION backups_restorechunk_guard_bulk CASCADE; DROP FUNCTION backups_bulkchange_guard CASCADE;",
        ),
    ]
