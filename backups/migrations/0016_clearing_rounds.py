"""Scheduled clearing: rules, their rounds, and stages of clean-ups that run under a standing approval."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Now

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


# A stage of a scheduled clearing has its own way and its own proof. It is never submitted, approved or accepted.
STAGES = """
CREATE FUNCTION backups_stage_guard_scheduled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.scheduled <> (SELECT clearing_id IS NOT NULL FROM backups_cleanuprequest WHERE id = NEW.request_id) THEN
    RAISE EXCEPTION 'a stage is scheduled as its request is' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' OR NEW.state = OLD.state THEN
    RETURN NEW;
  END IF;
  IF NEW.scheduled AND NEW.state IN ('checked', 'submitted', 'approved', 'accepted') THEN
    RAISE EXCEPTION 'a stage of a scheduled clearing is not %', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NOT NEW.scheduled AND OLD.state = 'verified' AND NEW.state = 'deleting' THEN
    RAISE EXCEPTION 'only a scheduled clearing needs no approval of its own' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.scheduled AND NEW.state = 'deleting' AND NOT EXISTS (
      SELECT FROM backups_cleanuprequest q
      JOIN kvops_run r ON r.id = NEW.run_id AND r.kind = 'clear' AND r.subject = 'clearing:' || q.clearing_id
      JOIN kvops_approvalrequest a ON a.id = r.approval_id AND a.id = NEW.approval_id
      JOIN backups_generation g ON g.id = NEW.generation_id
      WHERE q.id = NEW.request_id AND r.environment_id = NEW.environment_id AND a.kind = 'clearing'
        AND a.state = 'approved' AND a.standing_until > now() AND g.namespace_id = NEW.namespace_id
        AND g.status = 'verified') THEN
    RAISE EXCEPTION 'a scheduled clearing deletes what is backed up, by the run that carries the approval of its rule'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stage_guard_scheduled BEFORE INSERT OR UPDATE ON backups_cleanupstage
  FOR EACH ROW EXECUTE FUNCTION backups_stage_guard_scheduled();
"""

# A withdrawal and the intent of a chunk wait for each other, so no chunk is sent after the approval ended.
CHUNKS = """
CREATE FUNCTION backups_chunk_guard_standing() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE standing bigint;
BEGIN
  SELECT approval_id INTO standing FROM backups_cleanupstage WHERE id = NEW.stage_id AND scheduled;
  IF FOUND THEN
    PERFORM FROM kvops_approvalrequest a
      WHERE a.id = standing AND a.state = 'approved' AND a.standing_until > now() FOR SHARE;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'a chunk of a scheduled clearing needs an approval that stands'
        USING ERRCODE = 'restrict_violation';
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER chunk_guard_standing BEFORE UPDATE ON backups_cleanupchunk
  FOR EACH ROW WHEN (NEW.state = 'intended' AND OLD.state <> 'intended')
  EXECUTE FUNCTION backups_chunk_guard_standing();
"""

# The rule of a request is that of its binding and family, and never changes.
REQUESTS = """
CREATE FUNCTION backups_request_guard_clearing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.clearing_id IS DISTINCT FROM OLD.clearing_id THEN
      RAISE EXCEPTION 'what a clean-up is of cannot be edited' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.clearing_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM backups_clearing c JOIN kvops_namespace n ON n.id = c.namespace_id
      WHERE c.id = NEW.clearing_id AND c.retired_at IS NULL AND n.binding = NEW.binding
        AND c.family_id = NEW.family_id AND c.prefix = NEW.prefix AND c.only = NEW.only) THEN
    RAISE EXCEPTION 'a scheduled clearing is of the keys of its rule' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER request_guard_clearing BEFORE INSERT OR UPDATE ON backups_cleanuprequest
  FOR EACH ROW EXECUTE FUNCTION backups_request_guard_clearing();
"""

# A rule is of a cache and keeps its target. What happened is never deleted; an acceptance is of what was proven gone.
CLEARINGS = """
CREATE FUNCTION backups_clearing_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a rule of a clearing is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF (SELECT category FROM kvops_family WHERE id = NEW.family_id) <> 'cache' THEN
      RAISE EXCEPTION 'only a cache is cleared by a schedule' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.retired_at IS NOT NULL THEN
    RAISE EXCEPTION 'a retired rule cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.namespace_id, NEW.family_id, NEW.prefix, NEW.only, NEW.made_by_id, NEW.made_at) IS DISTINCT FROM
     (OLD.id, OLD.namespace_id, OLD.family_id, OLD.prefix, OLD.only, OLD.made_by_id, OLD.made_at) THEN
    RAISE EXCEPTION 'the keys of a rule cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER clearing_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_clearing
  FOR EACH ROW EXECUTE FUNCTION backups_clearing_guard();
CREATE TRIGGER clearing_guard_truncate BEFORE TRUNCATE ON backups_clearing
  FOR EACH STATEMENT EXECUTE FUNCTION backups_clearing_guard();

CREATE FUNCTION backups_clearing_round_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a round of a clearing is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'UPDATE' AND (
      (NEW.id, NEW.clearing_id, NEW.approval_id, NEW.run_id, NEW.scope_digest, NEW.reason, NEW.started_at)
      IS DISTINCT FROM
      (OLD.id, OLD.clearing_id, OLD.approval_id, OLD.run_id, OLD.scope_digest, OLD.reason, OLD.started_at)
      OR (OLD.stage_id IS NOT NULL AND NEW.stage_id IS DISTINCT FROM OLD.stage_id)
      OR (OLD.accepted_at IS NOT NULL AND (NEW.accepted_by_id, NEW.accepted_at, NEW.accepted_note)
          IS DISTINCT FROM (OLD.accepted_by_id, OLD.accepted_at, OLD.accepted_note))) THEN
    RAISE EXCEPTION 'what a round of a clearing is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.accepted_at IS NOT NULL AND NOT EXISTS (
      SELECT FROM backups_cleanupstage s WHERE s.id = NEW.stage_id AND s.state = 'confirmed' AND s.deleted > 0) THEN
    RAISE EXCEPTION 'only a round that deleted keys and proved it is accepted' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER clearing_round_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_clearinground
  FOR EACH ROW EXECUTE FUNCTION backups_clearing_round_guard();
CREATE TRIGGER clearing_round_guard_truncate BEFORE TRUNCATE ON backups_clearinground
  FOR EACH STATEMENT EXECUTE FUNCTION backups_clearing_round_guard();
"""

MOVES = "'verified>submitted',"
APPROVED = "IF NEW.state IN ('submitted', 'approved', 'deleting') AND NEW.approval_id IS NOT NULL AND NOT EXISTS ("
RUN = "IF NEW.state = 'deleting' AND NEW.run_id IS NOT NULL AND NOT EXISTS ("


def _to(model: str, *, null: bool = True, related: str = "+", one: bool = False) -> models.Field:
    kind = models.OneToOneField if one else models.ForeignKey
    return kind(blank=null, null=null, on_delete=django.db.models.deletion.PROTECT, related_name=related, to=model)


class Migration(migrations.Migration):
    dependencies = [("backups", "0015_clearing"), ("kvops", "0018_expiry")]

    operations = [
        migrations.CreateModel(
            "Clearing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefix", models.TextField(db_collation="C")),
                ("only", models.JSONField(blank=True, default=dict)),
                ("cap", models.PositiveIntegerField()),
                ("reason", models.TextField()),
                ("made_at", models.DateTimeField(db_default=Now())),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
                ("family", _to("kvops.family", null=False, related="clearings")),
                ("namespace", _to("kvops.namespace", null=False, related="clearings")),
                ("made_by", _to("kvops.person", null=False)),
                ("retired_by", _to("kvops.person")),
            ],
        ),
        migrations.AddConstraint(
            "clearing",
            models.CheckConstraint(name="clearing_has_a_cap", condition=Q(cap__gte=1, cap__lte=100_000)),
        ),
        migrations.AddConstraint("clearing", models.CheckConstraint(name="clearing_says_why", condition=~Q(reason=""))),
        migrations.AddConstraint(
            "clearing",
            models.CheckConstraint(
                name="clearing_retired_by_a_person",
                condition=Q(retired_at__isnull=True, retired_by__isnull=True)
                | Q(retired_at__isnull=False, retired_by__isnull=False),
            ),
        ),
        migrations.AddConstraint(
            "clearing",
            models.UniqueConstraint(
                fields=["namespace", "prefix", "only"],
                condition=Q(retired_at__isnull=True),
                name="clearing_once_per_scope",
            ),
        ),
        migrations.AddField("cleanuprequest", "clearing", _to("backups.clearing", related="requests")),
        migrations.AddField("cleanupstage", "scheduled", models.BooleanField(db_default=False, default=False)),
        migrations.RemoveConstraint("cleanuprequest", "cleanup_one_open_per_family"),
        migrations.AddConstraint(
            "cleanuprequest",
            models.UniqueConstraint(
                fields=["binding", "family"],
                condition=Q(ended_at__isnull=True, completed_at__isnull=True, clearing__isnull=True),
                name="cleanup_one_open_per_family",
            ),
        ),
        migrations.RemoveConstraint("cleanupstage", "stage_one_per_approval"),
        migrations.AddConstraint(
            "cleanupstage",
            models.UniqueConstraint(fields=["approval"], condition=Q(scheduled=False), name="stage_one_per_approval"),
        ),
        migrations.CreateModel(
            "ClearingRound",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("scope_digest", models.CharField(blank=True, max_length=64)),
                ("reason", models.CharField(blank=True, max_length=1000)),
                ("reason_sentence", models.JSONField(blank=True, default=dict)),
                ("started_at", models.DateTimeField(db_default=Now())),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_note", models.TextField(blank=True)),
                ("clearing", _to("backups.clearing", null=False, related="rounds")),
                ("approval", _to("kvops.approvalrequest")),
                ("run", _to("kvops.run", related="clearing_round", one=True)),
                ("stage", _to("backups.cleanupstage", related="clearing_round", one=True)),
                ("accepted_by", _to("kvops.person")),
            ],
        ),
        migrations.AddConstraint(
            "clearinground",
            models.CheckConstraint(
                name="clearing_round_runs_or_says_why",
                condition=Q(run__isnull=False, reason="", approval__isnull=False)
                | (Q(run__isnull=True, stage__isnull=True) & ~Q(reason="")),
            ),
        ),
        migrations.AddConstraint(
            "clearinground",
            models.CheckConstraint(
                name="clearing_round_accepted_with_a_note",
                condition=Q(accepted_note="", accepted_by__isnull=True, accepted_at__isnull=True)
                | (~Q(accepted_note="") & Q(accepted_by__isnull=False, accepted_at__isnull=False)),
            ),
        ),
        migrations.AddIndex("clearinground", models.Index(fields=["clearing", "-id"], name="clearing_round_newest")),
        edited("backups_stage_guard", MOVES, f"{MOVES} 'verified>deleting',"),
        edited("backups_stage_guard_moves", APPROVED, APPROVED.replace("IF ", "IF NOT NEW.scheduled AND ")),
        edited("backups_stage_guard_moves", RUN, RUN.replace("IF ", "IF NOT NEW.scheduled AND ")),
        migrations.RunSQL(STAGES, "DROP FUNCTION backups_stage_guard_scheduled CASCADE;"),
        migrations.RunSQL(CHUNKS, "DROP FUNCTION backups_chunk_guard_standing CASCADE;"),
        migrations.RunSQL(REQUESTS, "DROP FUNCTION backups_request_guard_clearing CASCADE;"),
        migrations.RunSQL(
            CLEARINGS,
            "DROP FUNCTION backups_clearing_round_guard CASCADE; DROP FUNCTION backups_clearing_guard CASCADE;",
        ),
    ]
