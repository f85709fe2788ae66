"""People come and go by approved requests. The database refuses every other way in, and the loss of the last reviewer.

Constraints that Django knows stand in the models. A grant without an approval is the first set-up's: all of it is one
transaction, and it ends when the first reviewer is there.
"""

from datetime import timedelta

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
import django.db.models.functions.text
from django.db import migrations, models

# Nobody decides on their own roles.
APPROVALS = """
ALTER TABLE kvops_approvalrequest ADD CONSTRAINT approval_not_about_the_approver
  CHECK (kind <> 'role' OR approver_id IS NULL OR subject <> 'person:' || approver_id);
"""

# No triggers: what the triggers below ask. Only an approval that this transaction used counts.
ASKED = """
CREATE FUNCTION kvops_role_approved(request bigint, about bigint, actions text[]) RETURNS boolean LANGUAGE sql STABLE
  AS $$
  SELECT EXISTS (
    SELECT FROM kvops_approvalrequest a JOIN kvops_person p ON p.id = about
    WHERE a.id = coalesce(request, a.id) AND a.kind = 'role' AND a.state = 'used' AND a.used_at >= now()
      AND a.evidence::json ->> 'action' = ANY (actions) AND a.evidence::json -> 'person' ->> 'email' = p.email)
$$;

CREATE FUNCTION kvops_recovery_granted(recovery bigint, about bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM kvops_reviewerrecovery r JOIN kvops_person p ON p.id = about
    WHERE r.id = coalesce(recovery, r.id) AND r.granted_at >= now() AND r.email = p.email)
$$;

CREATE FUNCTION kvops_other_reviewer_is_active(about bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM kvops_rolegrant g JOIN kvops_user u ON u.person_id = g.person_id
    WHERE g.role = 'reviewer' AND g.revoked_at IS NULL AND g.person_id <> about
      AND u.is_active AND u.password NOT LIKE '!%')
$$;
"""

# A role is granted and revoked by an approval. Two revocations at once wait for each other.
GRANTS = """
CREATE FUNCTION kvops_grant_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a granted role is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.revoked_at IS NOT NULL OR NEW.revocation_id IS NOT NULL THEN
      RAISE EXCEPTION 'a role is held before it is revoked' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.granted_at NOT BETWEEN now() AND clock_timestamp() THEN
      RAISE EXCEPTION 'the database says when a role is granted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.approval_id IS NOT NULL AND NEW.recovery_id IS NULL THEN
      IF NOT kvops_role_approved(NEW.approval_id, NEW.person_id, '{grant,invite}') OR NOT EXISTS (
          SELECT FROM kvops_approvalrequest a
          WHERE a.id = NEW.approval_id AND (a.evidence::jsonb -> 'roles') ? NEW.role) THEN
        RAISE EXCEPTION 'a role is granted by a request that another person approved for it'
          USING ERRCODE = 'restrict_violation';
      END IF;
    ELSIF NEW.recovery_id IS NOT NULL THEN
      IF NEW.approval_id IS NOT NULL OR NEW.role <> 'reviewer'
         OR NOT kvops_recovery_granted(NEW.recovery_id, NEW.person_id) THEN
        RAISE EXCEPTION 'a recovery grants its person the role of a reviewer' USING ERRCODE = 'restrict_violation';
      END IF;
    ELSIF EXISTS (SELECT FROM kvops_rolegrant g WHERE g.role = 'reviewer' AND g.granted_at < now()) THEN
      RAISE EXCEPTION 'a role is granted without an approval only at the first set-up'
        USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.person_id, NEW.role, NEW.granted_at, NEW.granted_by, NEW.approval_id, NEW.recovery_id)
     IS DISTINCT FROM
     (OLD.id, OLD.person_id, OLD.role, OLD.granted_at, OLD.granted_by, OLD.approval_id, OLD.recovery_id)
     OR OLD.revoked_at IS NOT NULL THEN
    RAISE EXCEPTION 'a granted role cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.revoked_at IS NULL OR NEW.revoked_at NOT BETWEEN now() AND clock_timestamp() THEN
    RAISE EXCEPTION 'the database says when a role is revoked' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.revocation_id IS NULL
     OR NOT kvops_role_approved(NEW.revocation_id, NEW.person_id, '{revoke,deactivate}') THEN
    RAISE EXCEPTION 'a role is revoked by a request that another person approved' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.role = 'reviewer' THEN
    PERFORM FROM kvops_rolegrant g WHERE g.role = 'reviewer' AND g.revoked_at IS NULL AND g.id <> NEW.id
      ORDER BY g.id FOR UPDATE;
    IF NOT kvops_other_reviewer_is_active(NEW.person_id) THEN
      RAISE EXCEPTION 'the last active reviewer keeps the role' USING ERRCODE = 'restrict_violation';
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER grant_guard BEFORE INSERT OR UPDATE OR DELETE ON kvops_rolegrant
  FOR EACH ROW EXECUTE FUNCTION kvops_grant_guard();
CREATE TRIGGER grant_guard_truncate BEFORE TRUNCATE ON kvops_rolegrant
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_grant_guard();
"""

# A login stays that of its person. It is deactivated and activated by an approval; a recovery may activate it, too.
LOGINS = """
CREATE FUNCTION kvops_login_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a login is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.person_id, NEW.email) IS DISTINCT FROM (OLD.id, OLD.person_id, OLD.email) THEN
    RAISE EXCEPTION 'a login stays that of its person' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.is_active AND NOT NEW.is_active AND NOT kvops_role_approved(NULL, NEW.person_id, '{deactivate}')
     OR NEW.is_active AND NOT OLD.is_active AND NOT kvops_role_approved(NULL, NEW.person_id, '{invite}')
        AND NOT kvops_recovery_granted(NULL, NEW.person_id) THEN
    RAISE EXCEPTION 'a login is deactivated or activated by a request that another person approved'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER login_guard BEFORE UPDATE OR DELETE ON kvops_user
  FOR EACH ROW EXECUTE FUNCTION kvops_login_guard();
CREATE TRIGGER login_guard_truncate BEFORE TRUNCATE ON kvops_user
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_login_guard();
"""

# A recovery begins and takes effect only while no reviewer is active, a day apart.
RECOVERIES = """
CREATE FUNCTION kvops_recovery_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a recovery is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.granted_at IS NOT NULL OR NEW.cancelled_at IS NOT NULL
       OR NEW.asked_at NOT BETWEEN now() AND clock_timestamp() THEN
      RAISE EXCEPTION 'a recovery begins now, without an end' USING ERRCODE = 'restrict_violation';
    END IF;
  ELSIF (NEW.id, NEW.email, NEW.name, NEW.reason, NEW.asked_by, NEW.asked_at, NEW.effective_at)
        IS DISTINCT FROM
        (OLD.id, OLD.email, OLD.name, OLD.reason, OLD.asked_by, OLD.asked_at, OLD.effective_at)
        OR OLD.granted_at IS NOT NULL OR OLD.cancelled_at IS NOT NULL THEN
    RAISE EXCEPTION 'a recovery cannot be edited' USING ERRCODE = 'restrict_violation';
  ELSIF NEW.granted_at IS NOT NULL AND (NEW.granted_at NOT BETWEEN now() AND clock_timestamp()
        OR NEW.granted_at < NEW.effective_at) THEN
    RAISE EXCEPTION 'a recovery takes effect when its day is over' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.cancelled_at IS NULL AND kvops_other_reviewer_is_active(0) THEN
    RAISE EXCEPTION 'a recovery is for an installation without an active reviewer'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER recovery_guard BEFORE INSERT OR UPDATE OR DELETE ON kvops_reviewerrecovery
  FOR EACH ROW EXECUTE FUNCTION kvops_recovery_guard();
CREATE TRIGGER recovery_guard_truncate BEFORE TRUNCATE ON kvops_reviewerrecovery
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_recovery_guard();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0023_watching"),
    ]

    operations = [
        migrations.AddField(
            model_name="rolegrant",
            name="approval",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="granted",
                to="kvops.approvalrequest",
            ),
        ),
        migrations.AddField(
            model_name="rolegrant",
            name="revocation",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="revoked",
                to="kvops.approvalrequest",
            ),
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
                    ("clearing", "scheduled clearing of a cache"),
                    ("bulk_change", "change many cache keys"),
                    ("worker_expiry", "expirations given by a Worker"),
                    ("role", "change the roles of a person"),
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
                    ("clearing", "scheduled clearing of a cache"),
                    ("bulk_change", "change many cache keys"),
                    ("worker_expiry", "expirations given by a Worker"),
                    ("role", "change the roles of a person"),
                ],
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="ReviewerRecovery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("email", models.EmailField(max_length=254)),
                ("name", models.CharField(max_length=200)),
                ("reason", models.CharField(max_length=500)),
                ("asked_by", models.CharField(max_length=200)),
                ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("effective_at", models.DateTimeField()),
                ("granted_at", models.DateTimeField(blank=True, null=True)),
                ("cancelled_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name_plural": "reviewer recoveries",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("email", django.db.models.functions.text.Lower("email"))),
                        name="recovery_email_is_case_folded",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="recovery_has_a_reason"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "effective_at__gte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("asked_at"), "+", models.Value(timedelta(days=1))
                                ),
                            )
                        ),
                        name="recovery_waits_for_24_hours",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("granted_at__isnull", True), ("cancelled_at__isnull", True), _connector="OR"
                        ),
                        name="recovery_granted_or_cancelled",
                    ),
                    models.UniqueConstraint(
                        models.Value(1),
                        condition=models.Q(("cancelled_at__isnull", True), ("granted_at__isnull", True)),
                        name="recovery_one_at_a_time",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="rolegrant",
            name="recovery",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="grant",
                to="kvops.reviewerrecovery",
            ),
        ),
        migrations.RunSQL(
            APPROVALS, "ALTER TABLE kvops_approvalrequest DROP CONSTRAINT approval_not_about_the_approver;"
        ),
        migrations.RunSQL(
            ASKED,
            "DROP FUNCTION kvops_role_approved, kvops_recovery_granted, kvops_other_reviewer_is_active CASCADE;",
        ),
        migrations.RunSQL(GRANTS, "DROP FUNCTION kvops_grant_guard CASCADE;"),
        migrations.RunSQL(LOGINS, "DROP FUNCTION kvops_login_guard CASCADE;"),
        migrations.RunSQL(RECOVERIES, "DROP FUNCTION kvops_recovery_guard CASCADE;"),
    ]
