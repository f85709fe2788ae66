"""Changes of single keys: their rows, and the rules that keep them as approved.

A change moves as drawn, with a request and a run of its own. Its key and its proposal are never edited. While the
emergency stop is on, no write is intended. A backup that an open change needs is not deleted.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

GUARD = """
CREATE FUNCTION backups_keychange_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a change of a key is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'draft' THEN
      RAISE EXCEPTION 'a change of a key starts as a draft' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'draft>submitted', 'submitted>approved', 'approved>writing', 'writing>done',
      'draft>ended', 'submitted>ended', 'approved>ended') THEN
    RAISE EXCEPTION 'a change of a key cannot go from % to %', OLD.state, NEW.state
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.environment_id, NEW.namespace_id, NEW.name, NEW.new_key, NEW.asked_by_id, NEW.created_at,
      NEW.reverses_id, NEW.bucket)
     IS DISTINCT FROM
     (OLD.id, OLD.environment_id, OLD.namespace_id, OLD.name, OLD.new_key, OLD.asked_by_id, OLD.created_at,
      OLD.reverses_id, OLD.bucket)
     OR (OLD.object_key <> '' AND (NEW.object_key, NEW.recipients, NEW.parts,
         NEW.expiration_before, NEW.expiration_after, NEW.warnings)
       IS DISTINCT FROM (OLD.object_key, OLD.recipients, OLD.parts,
         OLD.expiration_before, OLD.expiration_after, OLD.warnings))
     OR (OLD.object_sha256 <> '' AND NEW.object_sha256 <> OLD.object_sha256)
     OR (OLD.generation_id IS NOT NULL AND NEW.generation_id IS DISTINCT FROM OLD.generation_id) THEN
    RAISE EXCEPTION 'what a change of a key is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state <> 'draft' AND (NEW.reason, NEW.repeats_id, NEW.no_qa_because, NEW.approval_id, NEW.generation_id)
     IS DISTINCT FROM (OLD.reason, OLD.repeats_id, OLD.no_qa_because, OLD.approval_id, OLD.generation_id)
     OR (OLD.run_id IS NOT NULL AND NEW.run_id IS DISTINCT FROM OLD.run_id) THEN
    RAISE EXCEPTION 'what a change of a key was approved for cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state IN ('done', 'ended') AND (NEW.outcome, NEW.attempt, NEW.digest_before, NEW.digest_after,
      NEW.intended_at, NEW.finished_at) IS DISTINCT FROM (OLD.outcome, OLD.attempt, OLD.digest_before,
      OLD.digest_after, OLD.intended_at, OLD.finished_at)
     OR (OLD.accepted_at IS NOT NULL AND (NEW.accepted_at, NEW.accepted_by_id, NEW.accepted_note)
       IS DISTINCT FROM (OLD.accepted_at, OLD.accepted_by_id, OLD.accepted_note)) THEN
    RAISE EXCEPTION 'the result of a change of a key cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state <> OLD.state AND NEW.state IN ('submitted', 'approved', 'writing') AND NEW.approval_id IS NOT NULL
     AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'put_key' AND a.subject = 'keychange:' || NEW.id
        AND a.environment_id = NEW.environment_id
        AND a.state = CASE NEW.state WHEN 'submitted' THEN 'pending' WHEN 'approved' THEN 'approved' ELSE 'used' END)
  THEN
    RAISE EXCEPTION 'a change of a key is not % by this request', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'writing' AND OLD.state <> 'writing' AND NEW.run_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_run r
      WHERE r.id = NEW.run_id AND r.kind = 'change' AND r.approval_id = NEW.approval_id) THEN
    RAISE EXCEPTION 'a change of a key is written by the run of its approval' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.intended_at IS DISTINCT FROM OLD.intended_at THEN
    IF OLD.state <> 'writing' THEN
      RAISE EXCEPTION 'a key is written while its change is being written' USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (SELECT FROM kvops_emergencystop s
               WHERE s.environment_id = NEW.environment_id AND s.released_at IS NULL) THEN
      RAISE EXCEPTION 'no key is written while the emergency stop is on' USING ERRCODE = 'restrict_violation';
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER keychange_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_keychange
  FOR EACH ROW EXECUTE FUNCTION backups_keychange_guard();
CREATE TRIGGER keychange_guard_truncate BEFORE TRUNCATE ON backups_keychange
  FOR EACH STATEMENT EXECUTE FUNCTION backups_keychange_guard();

CREATE FUNCTION backups_generation_guard_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM backups_keychange c WHERE c.generation_id = OLD.id AND c.state NOT IN ('done', 'ended')) THEN
    RAISE EXCEPTION 'a backup that a change of a key needs is not deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER generation_guard_changes BEFORE UPDATE ON backups_generation
  FOR EACH ROW WHEN (NEW.status = 'deleting' AND OLD.status <> 'deleting')
  EXECUTE FUNCTION backups_generation_guard_changes();
"""
UNDO = """
DROP FUNCTION backups_generation_guard_changes() CASCADE;
DROP FUNCTION backups_keychange_guard() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0013_lean_check_rows"),
        ("kvops", "0017_changes"),
    ]

    operations = [
        migrations.AddField(
            model_name="bucketprotection",
            name="proposals",
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="bucketprotection",
            name="proposals_locked",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            model_name="generation",
            name="purpose",
            field=models.CharField(
                choices=[
                    ("routine", "routine"),
                    ("cleanup", "clean-up"),
                    ("restore", "backup before a restore"),
                    ("masters", "master data of D1"),
                    ("investigation", "investigation"),
                    ("change", "backup before a change"),
                ],
                default="routine",
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="KeyChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(db_collation="C")),
                ("new_key", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("bucket", models.CharField(max_length=100)),
                ("object_key", models.CharField(blank=True, max_length=1024)),
                ("object_sha256", models.CharField(blank=True, max_length=64)),
                ("recipients", models.JSONField(default=list)),
                ("parts", models.JSONField(default=list)),
                ("expiration_before", models.BigIntegerField(blank=True, null=True)),
                ("expiration_after", models.BigIntegerField(blank=True, null=True)),
                ("warnings", models.JSONField(blank=True, default=list)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "being prepared"),
                            ("submitted", "waiting for approval"),
                            ("approved", "approved"),
                            ("writing", "writing"),
                            ("done", "done"),
                            ("ended", "given up"),
                        ],
                        default="draft",
                        max_length=20,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("no_qa_because", models.TextField(blank=True)),
                ("ended_because", models.CharField(blank=True, max_length=1000)),
                (
                    "ended_because_sentence",
                    models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
                ),
                ("attempt", models.PositiveSmallIntegerField(default=0)),
                ("digest_key", models.CharField(blank=True, max_length=16)),
                ("digest_before", models.CharField(blank=True, max_length=64)),
                ("digest_after", models.CharField(blank=True, max_length=64)),
                ("intended_at", models.DateTimeField(blank=True, null=True)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("gap_ms", models.PositiveIntegerField(default=0)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "not read back yet"),
                            ("written", "written and read back"),
                            ("different", "different in KV: another program wrote it meanwhile"),
                            ("failed", "not in KV after three attempts"),
                            ("stopped", "not written: the run was ended early"),
                        ],
                        max_length=10,
                    ),
                ),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_note", models.TextField(blank=True)),
                ("erased_at", models.DateTimeField(blank=True, null=True)),
                (
                    "accepted_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.approvalrequest"
                    ),
                ),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="changes", to="kvops.person"
                    ),
                ),
                ("environment", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.environment")),
                (
                    "erase_run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.run",
                    ),
                ),
                (
                    "generation",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="backups.generation",
                    ),
                ),
                ("namespace", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.namespace")),
                (
                    "prepare_run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.run",
                    ),
                ),
                (
                    "repeats",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="repeated_by",
                        to="backups.keychange",
                    ),
                ),
                (
                    "reverses",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reversed_by",
                        to="backups.keychange",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.run",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["namespace", "name", "-id"], name="keychange_by_name")],
                "constraints": [
                    models.UniqueConstraint(fields=("approval",), name="keychange_one_per_approval"),
                    models.UniqueConstraint(fields=("run",), name="keychange_one_per_run"),
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ["done", "ended"]), _negated=True),
                        fields=("namespace", "name"),
                        name="keychange_one_open_per_key",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("name__in", ["", ".", ".."]), _negated=True),
                        name="keychange_name_is_no_path",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["draft", "ended"]),
                            models.Q(
                                ("approval__isnull", False),
                                models.Q(("reason", ""), _negated=True),
                                models.Q(("object_sha256", ""), _negated=True),
                                models.Q(("new_key", True), ("generation__isnull", False), _connector="OR"),
                            ),
                            _connector="OR",
                        ),
                        name="keychange_asked_for_is_whole",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state__in", ["writing", "done"]), _negated=True),
                            ("run__isnull", False),
                            _connector="OR",
                        ),
                        name="keychange_writing_has_a_run",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("finished_at__isnull", False), ("state__in", ["done", "ended"])),
                            models.Q(
                                models.Q(("state__in", ["done", "ended"]), _negated=True), ("finished_at__isnull", True)
                            ),
                            _connector="OR",
                        ),
                        name="keychange_over_has_an_end",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "done"), models.Q(("outcome", ""), _negated=True)),
                            models.Q(models.Q(("state", "done"), _negated=True), ("outcome", "")),
                            _connector="OR",
                        ),
                        name="keychange_done_has_an_outcome",
                    ),
                    models.CheckConstraint(condition=models.Q(("attempt__lte", 3)), name="keychange_three_tries"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("attempt", 0), ("intended_at__isnull", True)),
                            models.Q(
                                ("attempt__gt", 0),
                                ("intended_at__isnull", False),
                                models.Q(("digest_after", ""), _negated=True),
                                models.Q(("digest_key", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="keychange_intended_names_its_digests",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("accepted_at__isnull", True), ("accepted_by__isnull", True), ("accepted_note", "")
                            ),
                            models.Q(
                                ("accepted_at__isnull", False),
                                ("accepted_by__isnull", False),
                                ("outcome", "written"),
                                models.Q(("accepted_note", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="keychange_accepted_by_whom_and_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("erased_at__isnull", True), ("state__in", ["done", "ended"]), _connector="OR"
                        ),
                        name="keychange_erased_when_over",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARD, UNDO),
    ]
