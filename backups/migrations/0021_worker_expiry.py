"""Expirations given by Workers inside Cloudflare: rules, rounds, and the reports of the Workers."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

# A rule is of a cache that is designed to expire, and keeps its target. It is never deleted.
RULES = """
CREATE FUNCTION backups_worker_rule_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a rule of a Worker is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NOT EXISTS (SELECT FROM kvops_family f
                    WHERE f.id = NEW.family_id AND f.category = 'cache' AND f.expiry LIKE 'ttl:%') THEN
      RAISE EXCEPTION 'a Worker gives expirations only to a cache with a ttl' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.retired_at IS NOT NULL THEN
    RAISE EXCEPTION 'a retired rule of a Worker cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.namespace_id, NEW.family_id, NEW.made_by_id, NEW.made_at) IS DISTINCT FROM
     (OLD.id, OLD.namespace_id, OLD.family_id, OLD.made_by_id, OLD.made_at) THEN
    RAISE EXCEPTION 'the target of a Worker cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER worker_rule_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_workerrule
  FOR EACH ROW EXECUTE FUNCTION backups_worker_rule_guard();
CREATE TRIGGER worker_rule_guard_truncate BEFORE TRUNCATE ON backups_workerrule
  FOR EACH STATEMENT EXECUTE FUNCTION backups_worker_rule_guard();
"""

# A round belongs to the run that carries its approval. Its end is final, and only a round that gave something without
# a problem is accepted.
ROUNDS = """
CREATE FUNCTION backups_worker_round_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a round of a Worker is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.run_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_run r WHERE r.id = NEW.run_id AND r.kind = 'worker_round'
        AND r.subject = 'worker:' || NEW.rule_id AND r.approval_id = NEW.approval_id) THEN
    RAISE EXCEPTION 'a round of a Worker is of the run that carries its approval' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'UPDATE' AND (
      (NEW.id, NEW.rule_id, NEW.token, NEW.approval_id, NEW.run_id, NEW.scope_digest, NEW.due_at, NEW.started_at)
      IS DISTINCT FROM
      (OLD.id, OLD.rule_id, OLD.token, OLD.approval_id, OLD.run_id, OLD.scope_digest, OLD.due_at, OLD.started_at)
      OR (OLD.reason <> '' AND NEW.reason <> OLD.reason)
      OR (OLD.ended <> '' AND (NEW.ended, NEW.listed, NEW.given, NEW.skipped, NEW.failed) IS DISTINCT FROM
          (OLD.ended, OLD.listed, OLD.given, OLD.skipped, OLD.failed))
      OR (OLD.accepted_at IS NOT NULL AND (NEW.accepted_by_id, NEW.accepted_at, NEW.accepted_note)
          IS DISTINCT FROM (OLD.accepted_by_id, OLD.accepted_at, OLD.accepted_note))) THEN
    RAISE EXCEPTION 'a round of a Worker cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.accepted_at IS NOT NULL AND (NEW.ended = '' OR NEW.given = 0 OR NEW.reason <> '') THEN
    RAISE EXCEPTION 'only a reported round that gave expirations is accepted' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER worker_round_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_workerround
  FOR EACH ROW EXECUTE FUNCTION backups_worker_round_guard();
CREATE TRIGGER worker_round_guard_truncate BEFORE TRUNCATE ON backups_workerround
  FOR EACH STATEMENT EXECUTE FUNCTION backups_worker_round_guard();
"""

# What a Worker reported is kept as it was.
REPORTS = """
CREATE FUNCTION backups_worker_report_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a report of a Worker is never deleted or edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER worker_report_guard BEFORE UPDATE OR DELETE ON backups_workerreport
  FOR EACH ROW EXECUTE FUNCTION backups_worker_report_guard();
CREATE TRIGGER worker_report_guard_truncate BEFORE TRUNCATE ON backups_workerreport
  FOR EACH STATEMENT EXECUTE FUNCTION backups_worker_report_guard();
CREATE TRIGGER worker_key_guard BEFORE UPDATE OR DELETE ON backups_workerkey
  FOR EACH ROW EXECUTE FUNCTION backups_worker_report_guard();
CREATE TRIGGER worker_key_guard_truncate BEFORE TRUNCATE ON backups_workerkey
  FOR EACH STATEMENT EXECUTE FUNCTION backups_worker_report_guard();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0020_vault"),
        ("kvops", "0022_workers"),
    ]

    operations = [
        migrations.CreateModel(
            name="WorkerRound",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token", models.CharField(blank=True, max_length=36)),
                ("scope_digest", models.CharField(blank=True, max_length=64)),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("reason", models.CharField(blank=True, max_length=1000)),
                ("reason_sentence", models.JSONField(blank=True, default=dict)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("heard_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ended", models.CharField(blank=True, max_length=10)),
                ("listed", models.PositiveBigIntegerField(default=0)),
                ("given", models.PositiveIntegerField(default=0)),
                ("skipped", models.PositiveIntegerField(default=0)),
                ("failed", models.PositiveIntegerField(default=0)),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_note", models.TextField(blank=True)),
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
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.approvalrequest",
                    ),
                ),
                (
                    "run",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="worker_round",
                        to="kvops.run",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="WorkerReport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("part", models.PositiveIntegerField()),
                ("given", models.PositiveIntegerField()),
                ("failed", models.PositiveIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "round",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="reports", to="backups.workerround"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="WorkerRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ttl", models.PositiveIntegerField()),
                ("cap", models.PositiveIntegerField()),
                ("cron", models.CharField(max_length=100)),
                ("reason", models.TextField()),
                ("made_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
                (
                    "family",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="worker_rules", to="kvops.family"
                    ),
                ),
                (
                    "made_by",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"),
                ),
                (
                    "namespace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="worker_rules", to="kvops.namespace"
                    ),
                ),
                (
                    "retired_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="workerround",
            name="rule",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="rounds", to="backups.workerrule"
            ),
        ),
        migrations.CreateModel(
            name="WorkerNonce",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("nonce", models.CharField(max_length=36)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="backups.workerrule"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="WorkerKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(db_collation="C")),
                ("certain", models.BooleanField()),
                ("expires_at", models.DateTimeField()),
                (
                    "report",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="keys", to="backups.workerreport"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("report", "name"), name="worker_key_once_per_report")],
            },
        ),
        migrations.AddConstraint(
            model_name="workerreport",
            constraint=models.UniqueConstraint(fields=("round", "part"), name="worker_report_once"),
        ),
        migrations.AddConstraint(
            model_name="workerrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("ttl__gte", 86400), ("ttl__lte", 31536000)), name="worker_rule_gives_a_day"
            ),
        ),
        migrations.AddConstraint(
            model_name="workerrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("cap__gte", 1), ("cap__lte", 100000)), name="worker_rule_has_a_cap"
            ),
        ),
        migrations.AddConstraint(
            model_name="workerrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True), name="worker_rule_says_why"
            ),
        ),
        migrations.AddConstraint(
            model_name="workerrule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("retired_at__isnull", True), ("retired_by__isnull", True)),
                    models.Q(("retired_at__isnull", False), ("retired_by__isnull", False)),
                    _connector="OR",
                ),
                name="worker_rule_retired_by_a_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="workerrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("retired_at__isnull", True)),
                fields=("namespace", "family"),
                name="worker_rule_once_per_family",
            ),
        ),
        migrations.AddIndex(
            model_name="workerround",
            index=models.Index(fields=["rule", "-id"], name="worker_round_newest"),
        ),
        migrations.AddConstraint(
            model_name="workerround",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("approval__isnull", False), ("run__isnull", False)),
                    models.Q(
                        ("ended", ""),
                        ("failed", 0),
                        ("given", 0),
                        ("run__isnull", True),
                        models.Q(("reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="worker_round_runs_or_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="workerround",
            constraint=models.CheckConstraint(
                condition=models.Q(("ended__in", ["", "complete", "cap", "refused", "end"])),
                name="worker_round_ends_in_a_known_way",
            ),
        ),
        migrations.AddConstraint(
            model_name="workerround",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("accepted_at__isnull", True), ("accepted_by__isnull", True), ("accepted_note", "")),
                    models.Q(
                        models.Q(("accepted_note", ""), _negated=True),
                        ("accepted_at__isnull", False),
                        ("accepted_by__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="worker_round_accepted_with_a_note",
            ),
        ),
        migrations.AddConstraint(
            model_name="workerround",
            constraint=models.UniqueConstraint(
                condition=models.Q(("token", ""), _negated=True),
                fields=("rule", "token"),
                name="worker_round_asked_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="workerround",
            constraint=models.UniqueConstraint(fields=("rule", "due_at"), name="worker_round_missed_once"),
        ),
        migrations.AddIndex(
            model_name="workernonce",
            index=models.Index(fields=["at"], name="worker_nonce_by_time"),
        ),
        migrations.AddConstraint(
            model_name="workernonce",
            constraint=models.UniqueConstraint(fields=("rule", "nonce"), name="worker_nonce_once"),
        ),
        migrations.RunSQL(RULES, "DROP FUNCTION backups_worker_rule_guard CASCADE;"),
        migrations.RunSQL(ROUNDS, "DROP FUNCTION backups_worker_round_guard CASCADE;"),
        migrations.RunSQL(REPORTS, "DROP FUNCTION backups_worker_report_guard CASCADE;"),
    ]
