"""Settings are cleaned up one key at a time: a request may be of exactly one name, and of settings it must be."""

from django.db import migrations, models
from django.db.models import Q

REQUESTS = """
CREATE FUNCTION backups_exact_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.exact <> OLD.exact THEN
    RAISE EXCEPTION 'what a clean-up is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER exact_guard BEFORE UPDATE ON backups_cleanuprequest
  FOR EACH ROW EXECUTE FUNCTION backups_exact_guard();
"""
NO_REQUESTS = """
DROP TRIGGER exact_guard ON backups_cleanuprequest;
DROP FUNCTION backups_exact_guard();
"""
OLD_STAGES = """
CREATE OR REPLACE FUNCTION backups_stage_guard_moves() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""
STAGES = """
CREATE OR REPLACE FUNCTION backups_stage_guard_moves() RETURNS trigger LANGUAGE plpgsql AS $$
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
     AND (SELECT category FROM backups_cleanuprequest WHERE id = NEW.request_id) = 'legacy' THEN
    RAISE EXCEPTION 'a legacy family is submitted after its check' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'submitted' AND EXISTS (
      SELECT FROM backups_cleanuprequest q WHERE q.id = NEW.request_id AND q.exact AND (NEW.names <> 1
        OR EXISTS (SELECT FROM backups_cleanupentry e WHERE e.stage_id = NEW.id AND e.name <> q.prefix))) THEN
    RAISE EXCEPTION 'a clean-up of one key has that name and no other' USING ERRCODE = 'restrict_violation';
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
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0321_guards_of_disposals")]

    operations = [
        migrations.AddField("cleanuprequest", "exact", models.BooleanField(default=False)),
        migrations.RemoveConstraint("cleanuprequest", "cleanup_never_of_settings"),
        migrations.AddConstraint(
            "cleanuprequest",
            models.CheckConstraint(
                name="cleanup_of_settings_is_of_one_key", condition=~Q(category="settings") | Q(exact=True)
            ),
        ),
        migrations.RunSQL(REQUESTS, NO_REQUESTS),
        migrations.RunSQL(STAGES, OLD_STAGES),
    ]
