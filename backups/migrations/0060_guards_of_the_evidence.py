"""What a stage stands on, said by the database: it starts at the beginning, moves only with its proof, and stays.

Without this a stage could be written as accepted, and pass for the evidence that QA was cleaned first.
"""

from django.db import migrations, models
from django.db.models import F, Q

REQUESTS = """
CREATE FUNCTION backups_request_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a clean-up is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.category <> (SELECT category FROM kvops_family WHERE id = NEW.family_id) THEN
      RAISE EXCEPTION 'a clean-up has the category of its family' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.binding, NEW.prefix, NEW.family_id, NEW.category, NEW.reason, NEW.requested_by_id, NEW.created_at)
     IS DISTINCT FROM
     (OLD.id, OLD.binding, OLD.prefix, OLD.family_id, OLD.category, OLD.reason, OLD.requested_by_id, OLD.created_at)
  THEN
    RAISE EXCEPTION 'what a clean-up is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (OLD.ended_at IS NOT NULL OR OLD.completed_at IS NOT NULL) AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a clean-up that is over cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER request_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_cleanuprequest
  FOR EACH ROW EXECUTE FUNCTION backups_request_guard();
"""

# Only what is there is judged here; that it is there is said by the table's own constraints.
STAGES = """
CREATE FUNCTION backups_stage_guard_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'waiting' THEN
      RAISE EXCEPTION 'a stage starts as waiting' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.state IN ('accepted', 'ended') AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a stage that is over cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state IN ('deleting', 'deleted', 'confirmed') AND NEW.run_id IS DISTINCT FROM OLD.run_id THEN
    RAISE EXCEPTION 'the run of a stage cannot be replaced' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state = 'confirmed' AND (
      (NEW.generation_id, NEW.check_passed_id, NEW.approval_id, NEW.deleted, NEW.skipped,
       NEW.first_listing_at, NEW.second_listing_at)
      IS DISTINCT FROM
      (OLD.generation_id, OLD.check_passed_id, OLD.approval_id, OLD.deleted, OLD.skipped,
       OLD.first_listing_at, OLD.second_listing_at)
      OR (OLD.scope_digest <> '' AND NEW.scope_digest <> OLD.scope_digest)) THEN
    RAISE EXCEPTION 'what a stage proved cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = OLD.state THEN
    RETURN NEW;
  END IF;
  IF NEW.state IN ('backed_up', 'verified', 'submitted') AND NEW.generation_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM backups_generation g
      WHERE g.id = NEW.generation_id AND g.namespace_id = NEW.namespace_id
        AND (g.status = 'verified' OR (g.status = 'complete' AND NEW.state = 'backed_up'))) THEN
    RAISE EXCEPTION 'a stage is not % by this copy', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'checked' AND NEW.check_passed_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM backups_check c
      WHERE c.id = NEW.check_passed_id AND c.generation_id = NEW.generation_id AND c.outcome = 'passed') THEN
    RAISE EXCEPTION 'a stage is checked by a passed check of its copy' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state = 'verified' AND NEW.state = 'submitted'
     AND (SELECT category FROM backups_cleanuprequest WHERE id = NEW.request_id) <> 'cache' THEN
    RAISE EXCEPTION 'only cache is submitted without a check' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state IN ('submitted', 'approved', 'deleting') AND NEW.approval_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'delete_keys' AND a.subject = 'stage:' || NEW.id
        AND a.environment_id = NEW.environment_id
        AND a.state = CASE NEW.state WHEN 'submitted' THEN 'pending' WHEN 'approved' THEN 'approved' ELSE 'used' END)
  THEN
    RAISE EXCEPTION 'a stage is not % by this request', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'deleting' AND NEW.run_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_run r
      WHERE r.id = NEW.run_id AND r.kind = 'delete' AND r.approval_id = NEW.approval_id) THEN
    RAISE EXCEPTION 'a stage is deleted by the run of its approval' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stage_guard_moves BEFORE INSERT OR UPDATE ON backups_cleanupstage
  FOR EACH ROW EXECUTE FUNCTION backups_stage_guard_moves();
"""

CHUNKS = """
CREATE FUNCTION backups_chunk_guard_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'planned' THEN
      RAISE EXCEPTION 'a chunk starts as planned' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.stage_id, NEW.number, NEW.attempt, NEW.first_index, NEW.last_index)
     IS DISTINCT FROM
     (OLD.id, OLD.stage_id, OLD.number, OLD.attempt, OLD.first_index, OLD.last_index) THEN
    RAISE EXCEPTION 'the range of a chunk cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state = 'settled' AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a settled chunk cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER chunk_guard_moves BEFORE INSERT OR UPDATE ON backups_cleanupchunk
  FOR EACH ROW EXECUTE FUNCTION backups_chunk_guard_moves();
"""

EXCEPTIONS = """
CREATE FUNCTION backups_exception_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND OLD.outcome = 'alive' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'what became of a name cannot be edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER exception_guard BEFORE UPDATE OR DELETE ON backups_cleanupexception
  FOR EACH ROW EXECUTE FUNCTION backups_exception_guard();
"""

TABLES = {
    "request": "backups_cleanuprequest",
    "stage": "backups_cleanupstage",
    "entry": "backups_cleanupentry",
    "chunk": "backups_cleanupchunk",
    "exception": "backups_cleanupexception",
}
TRUNCATION = """
CREATE FUNCTION backups_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the clean-ups are never truncated' USING ERRCODE = 'restrict_violation';
END $$;
""" + "".join(
    f"CREATE TRIGGER {name}_guard_truncate BEFORE TRUNCATE ON {table}"
    f" FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate();\n"
    for name, table in TABLES.items()
)


def _drop(table: str, trigger: str) -> str:
    return f"DROP TRIGGER {trigger} ON {table}; DROP FUNCTION backups_{trigger};"


class Migration(migrations.Migration):
    dependencies = [("backups", "0020_part_stored"), ("kvops", "0060_guards_of_what_is_over")]

    operations = [
        # It let a stage without a second listing through: a comparison with NULL is no refusal.
        migrations.RemoveConstraint("cleanupstage", "stage_confirmed_has_two_listings"),
        migrations.AddConstraint(
            "cleanupstage",
            models.CheckConstraint(
                name="stage_confirmed_has_two_listings",
                condition=~Q(state__in=["confirmed", "accepted"])
                | Q(
                    first_listing_at__isnull=False,
                    second_listing_at__isnull=False,
                    second_listing_at__gt=F("first_listing_at"),
                ),
            ),
        ),
        migrations.RunSQL(REQUESTS, _drop("backups_cleanuprequest", "request_guard")),
        migrations.RunSQL(STAGES, _drop("backups_cleanupstage", "stage_guard_moves")),
        migrations.RunSQL(CHUNKS, _drop("backups_cleanupchunk", "chunk_guard_moves")),
        migrations.RunSQL(EXCEPTIONS, _drop("backups_cleanupexception", "exception_guard")),
        migrations.RunSQL(
            TRUNCATION,
            "".join(f"DROP TRIGGER {name}_guard_truncate ON {table};" for name, table in TABLES.items())
            + "DROP FUNCTION backups_refuse_truncate;",
        ),
    ]
