"""No copy goes without a used approval, before its 14 days, while it is pinned or needed, or as the newest.

What would rely on a copy locks it first, as does the run that deletes it: one of the two waits and then sees the other.
"""

from django.db import migrations

MOVES = (
    "'writing>complete', 'writing>partial', 'complete>verified', 'complete>damaged', 'verified>damaged'",
    ", 'partial>deleting', 'complete>deleting', 'verified>deleting', 'damaged>deleting', 'deleting>deleted'",
)

DELETING = """
  IF NEW.status = 'deleting' AND OLD.status <> 'deleting' THEN
    IF now() < greatest(OLD.retain_until, OLD.finished_at + interval '14 days') THEN
      RAISE EXCEPTION 'a copy is kept for at least 14 days' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (
        SELECT FROM backups_pruneentry e
        JOIN backups_prunerequest d ON d.id = e.prune_id
        JOIN kvops_approvalrequest a ON a.id = d.approval_id
        JOIN kvops_run r ON r.id = d.run_id
        WHERE e.generation_id = OLD.id AND e.outcome = 'planned' AND d.state = 'deleting'
          AND d.environment_id = OLD.environment_id AND a.state = 'used' AND r.state = 'running') THEN
      RAISE EXCEPTION 'a copy is deleted by the run of an approved prune' USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (SELECT FROM backups_pin p WHERE p.generation_id = OLD.id AND p.removed_at IS NULL) THEN
      RAISE EXCEPTION 'a pinned copy is not deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (SELECT FROM backups_restore x WHERE x.state NOT IN ('done', 'ended')
                 AND OLD.id IN (x.generation_id, x.safety_id))
       OR EXISTS (SELECT FROM backups_cleanupstage s WHERE s.generation_id = OLD.id
                    AND s.state NOT IN ('confirmed', 'accepted', 'ended')) THEN
      RAISE EXCEPTION 'a copy that is needed is not deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (SELECT FROM backups_generation g
                   WHERE g.namespace_id = OLD.namespace_id AND g.status = 'verified' AND g.id > OLD.id) THEN
      RAISE EXCEPTION 'the newest verified copy is not deleted' USING ERRCODE = 'restrict_violation';
    END IF;
  END IF;"""


def _copies(moves: str, deleting: str) -> str:
    """The guard of 0062 with more moves."""
    return f"""
CREATE OR REPLACE FUNCTION backups_generation_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a copy is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.status <> 'writing' THEN
      RAISE EXCEPTION 'a copy starts as writing' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.status <> OLD.status AND (OLD.status || '>' || NEW.status) NOT IN ({moves}) THEN
    RAISE EXCEPTION 'a copy cannot go from % to %', OLD.status, NEW.status USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.retain_until < OLD.retain_until THEN
    RAISE EXCEPTION 'a copy is never kept for a shorter time' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.status <> 'writing' AND (
      NEW.id, NEW.environment_id, NEW.namespace_id, NEW.prefixes, NEW.category, NEW.patterns, NEW.purpose, NEW.read,
      NEW.run_id, NEW.made_by_id, NEW.actor, NEW.bucket, NEW.stem, NEW.manifest_key, NEW.manifest_sha256,
      NEW.digest_root, NEW.keys, NEW.bytes, NEW.expired, NEW.vanished, NEW.calls, NEW.started_at, NEW.finished_at)
     IS DISTINCT FROM (
      OLD.id, OLD.environment_id, OLD.namespace_id, OLD.prefixes, OLD.category, OLD.patterns, OLD.purpose, OLD.read,
      OLD.run_id, OLD.made_by_id, OLD.actor, OLD.bucket, OLD.stem, OLD.manifest_key, OLD.manifest_sha256,
      OLD.digest_root, OLD.keys, OLD.bytes, OLD.expired, OLD.vanished, OLD.calls, OLD.started_at, OLD.finished_at)
  THEN
    RAISE EXCEPTION 'what a finished copy is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;{deleting}
  RETURN NEW;
END $$;
"""


# Fires before the guards of the tables themselves: by the alphabet.
NEEDED = """
CREATE FUNCTION backups_needed_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT g.status FROM backups_generation g WHERE g.id = NEW.generation_id FOR SHARE)
     IN ('deleting', 'deleted') THEN
    RAISE EXCEPTION 'nothing relies on a copy that is being deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
""" + "".join(
    f"CREATE TRIGGER a_needed_guard BEFORE INSERT OR UPDATE OF generation_id ON {table}"
    f" FOR EACH ROW WHEN (NEW.generation_id IS NOT NULL) EXECUTE FUNCTION backups_needed_guard();\n"
    for table in ("backups_restore", "backups_cleanupstage", "backups_check", "backups_pin")
)

PRUNES = """
CREATE FUNCTION backups_prune_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a prune is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'collected' THEN
      RAISE EXCEPTION 'a prune starts as collected' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'collected>submitted', 'submitted>approved', 'approved>deleting', 'deleting>done',
      'collected>ended', 'submitted>ended', 'approved>ended') THEN
    RAISE EXCEPTION 'a prune cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.environment_id, NEW.reason, NEW.generations, NEW.objects_total, NEW.objects_sha256,
      NEW.requested_by_id, NEW.created_at)
     IS DISTINCT FROM
     (OLD.id, OLD.environment_id, OLD.reason, OLD.generations, OLD.objects_total, OLD.objects_sha256,
      OLD.requested_by_id, OLD.created_at)
     OR (OLD.approval_id IS NOT NULL AND NEW.approval_id IS DISTINCT FROM OLD.approval_id)
     OR (OLD.run_id IS NOT NULL AND NEW.run_id IS DISTINCT FROM OLD.run_id) THEN
    RAISE EXCEPTION 'what a prune is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state IN ('done', 'ended') AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a prune that is over cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state <> OLD.state AND NEW.state IN ('submitted', 'approved', 'deleting')
     AND NEW.approval_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'delete_generations' AND a.subject = 'prune:' || NEW.id
        AND a.environment_id = NEW.environment_id
        AND a.state = CASE NEW.state WHEN 'submitted' THEN 'pending' WHEN 'approved' THEN 'approved' ELSE 'used' END)
  THEN
    RAISE EXCEPTION 'a prune is not % by this request', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'deleting' AND OLD.state <> 'deleting' AND NEW.run_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_run r
      WHERE r.id = NEW.run_id AND r.kind = 'prune' AND r.approval_id = NEW.approval_id) THEN
    RAISE EXCEPTION 'a prune is done by the run of its approval' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER prune_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_prunerequest
  FOR EACH ROW EXECUTE FUNCTION backups_prune_guard();
CREATE TRIGGER prune_guard_truncate BEFORE TRUNCATE ON backups_prunerequest
  FOR EACH STATEMENT EXECUTE FUNCTION backups_prune_guard();

CREATE FUNCTION backups_pruned_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE its_state text;
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a copy of a prune is never deleted from it' USING ERRCODE = 'restrict_violation';
  END IF;
  SELECT state INTO its_state FROM backups_prunerequest WHERE id = NEW.prune_id;
  IF TG_OP = 'INSERT' THEN
    IF its_state <> 'collected' OR NEW.outcome <> 'planned' THEN
      RAISE EXCEPTION 'the copies of a prune are collected once' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.prune_id, NEW.index, NEW.generation_id, NEW.due_at, NEW.newer, NEW.objects_total,
      NEW.objects_sha256)
     IS DISTINCT FROM
     (OLD.id, OLD.prune_id, OLD.index, OLD.generation_id, OLD.due_at, OLD.newer, OLD.objects_total,
      OLD.objects_sha256) THEN
    RAISE EXCEPTION 'a copy of a prune cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF its_state <> 'deleting' OR OLD.outcome <> 'planned' THEN
    RAISE EXCEPTION 'what became of a copy cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.outcome = 'deleted' AND NOT EXISTS (
      SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.status = 'deleted') THEN
    RAISE EXCEPTION 'a copy that is there is not said to be deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER pruned_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_pruneentry
  FOR EACH ROW EXECUTE FUNCTION backups_pruned_guard();
CREATE TRIGGER pruned_guard_truncate BEFORE TRUNCATE ON backups_pruneentry
  FOR EACH STATEMENT EXECUTE FUNCTION backups_pruned_guard();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0320_disposals"), ("kvops", "0321_guards_of_disposals")]

    operations = [
        migrations.RunSQL(_copies("".join(MOVES), DELETING), _copies(MOVES[0], "")),
        migrations.RunSQL(
            NEEDED,
            "".join(
                f"DROP TRIGGER a_needed_guard ON {table};"
                for table in ("backups_restore", "backups_cleanupstage", "backups_check", "backups_pin")
            )
            + "DROP FUNCTION backups_needed_guard;",
        ),
        migrations.RunSQL(
            PRUNES,
            """
            DROP TRIGGER pruned_guard_truncate ON backups_pruneentry;
            DROP TRIGGER pruned_guard ON backups_pruneentry;
            DROP FUNCTION backups_pruned_guard;
            DROP TRIGGER prune_guard_truncate ON backups_prunerequest;
            DROP TRIGGER prune_guard ON backups_prunerequest;
            DROP FUNCTION backups_prune_guard;
            """,
        ),
    ]
