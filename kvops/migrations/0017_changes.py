"""Requests and runs that change a key. A run of this kind needs an approval of its own kind."""

from django.db import migrations, models

GUARD = """
CREATE OR REPLACE FUNCTION kvops_run_guard_restores() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.finished_at IS DISTINCT FROM OLD.finished_at THEN
      RAISE EXCEPTION 'when a run succeeded cannot be edited' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.kind NOT IN ('delete', 'restore', 'undo', 'prune', 'drill', 'prune_investigation', 'change') THEN
    RAISE EXCEPTION 'only what writes or deletes uses up an approval' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.kind = 'prune' AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'delete_generations' AND a.environment_id = NEW.environment_id) THEN
    RAISE EXCEPTION 'the deletion of backups needs an approval to delete backups of its environment'
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.kind = 'restore' AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'restore' AND a.environment_id = NEW.environment_id) THEN
    RAISE EXCEPTION 'a restore needs an approval to restore keys into its environment'
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.kind = 'change' AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'put_key' AND a.environment_id = NEW.environment_id) THEN
    RAISE EXCEPTION 'a change of a key needs an approval to change a key of its environment'
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
BEFORE = """
CREATE OR REPLACE FUNCTION kvops_run_guard_restores() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.finished_at IS DISTINCT FROM OLD.finished_at THEN
      RAISE EXCEPTION 'when a run succeeded cannot be edited' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.kind NOT IN ('delete', 'restore', 'undo', 'prune', 'drill', 'prune_investigation') THEN
    RAISE EXCEPTION 'only what writes or deletes uses up an approval' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.kind = 'prune' AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'delete_generations' AND a.environment_id = NEW.environment_id) THEN
    RAISE EXCEPTION 'the deletion of backups needs an approval to delete backups of its environment'
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.kind = 'restore' AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'restore' AND a.environment_id = NEW.environment_id) THEN
    RAISE EXCEPTION 'a restore needs an approval to restore keys into its environment'
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
    dependencies = [
        ("kvops", "0016_families"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_is_approved",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_in_a_worker",
        ),
        migrations.AlterField(
            model_name="approvalrequest",
            name="kind",
            field=models.CharField(
                choices=[
                    ("delete_keys", "delete keys"),
                    ("environment", "change environments"),
                    ("policy", "change the policy"),
                    ("family", "register a key family"),
                    ("release_stop", "release an emergency stop"),
                    ("restore", "restore keys"),
                    ("delete_generations", "prune backups"),
                    ("drill", "restore drills"),
                    ("investigation", "prune an investigation backup"),
                    ("put_key", "change a key"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="preparedchange",
            name="kind",
            field=models.CharField(
                choices=[
                    ("delete_keys", "delete keys"),
                    ("environment", "change environments"),
                    ("policy", "change the policy"),
                    ("family", "register a key family"),
                    ("release_stop", "release an emergency stop"),
                    ("restore", "restore keys"),
                    ("delete_generations", "prune backups"),
                    ("drill", "restore drills"),
                    ("investigation", "prune an investigation backup"),
                    ("put_key", "change a key"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[
                    ("scan", "scan"),
                    ("backup", "backup"),
                    ("masters", "backup of master data"),
                    ("verify", "verification"),
                    ("check", "integrity check"),
                    ("delete", "deletion"),
                    ("confirm", "proof of absence"),
                    ("reconcile", "listing of the bucket"),
                    ("late_check", "late check"),
                    ("preview", "preview of a restore"),
                    ("restore", "restore"),
                    ("undo", "undoing of a deletion"),
                    ("prune", "prune run"),
                    ("comparison", "comparison of a backup"),
                    ("drill", "restore drill"),
                    ("prune_investigation", "prune of an investigation backup"),
                    ("look", "look at the deployed code"),
                    ("search", "search of a deployed script"),
                    ("change", "change of a key"),
                    ("reverse_change", "preparation of a reverse change"),
                    ("erase_proposal", "erasure of a proposal"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("kind__in", ["delete", "restore", "undo", "prune", "drill", "prune_investigation", "change"]),
                        _negated=True,
                    ),
                    models.Q(("approval__isnull", False), models.Q(("approval_digest", ""), _negated=True)),
                    _connector="OR",
                ),
                name="run_destructive_is_approved",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("kind__in", ["delete", "restore", "undo", "prune", "drill", "prune_investigation", "change"]),
                        _negated=True,
                    ),
                    ("foreground", False),
                    _connector="OR",
                ),
                name="run_destructive_in_a_worker",
            ),
        ),
        migrations.RunSQL(GUARD, BEFORE),
    ]
