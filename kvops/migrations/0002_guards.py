"""What must never be, said by the database: approvals cannot be edited, nor run without one."""

from django.db import migrations

APPROVALS = """
ALTER TABLE kvops_approvalrequest
  ADD CONSTRAINT approval_digest_is_of_evidence
    CHECK (digest = encode(sha256(convert_to(evidence, 'UTF8')), 'hex')),
  ADD CONSTRAINT approval_evidence_size CHECK (octet_length(evidence) BETWEEN 2 AND 65536);

CREATE FUNCTION kvops_approval_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'an approval request is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'pending' OR NEW.approver_id IS NOT NULL OR NEW.starter_id IS NOT NULL THEN
      RAISE EXCEPTION 'an approval request starts as pending' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.kind, NEW.subject, NEW.title, NEW.environment_id, NEW.evidence, NEW.digest,
      NEW.requester_id, NEW.created_at, NEW.decide_by)
     IS DISTINCT FROM
     (OLD.id, OLD.kind, OLD.subject, OLD.title, OLD.environment_id, OLD.evidence, OLD.digest,
      OLD.requester_id, OLD.created_at, OLD.decide_by) THEN
    RAISE EXCEPTION 'an approval request cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state <> 'pending' AND (NEW.approver_id, NEW.decided_at, NEW.use_by)
     IS DISTINCT FROM (OLD.approver_id, OLD.decided_at, OLD.use_by) THEN
    RAISE EXCEPTION 'a decision cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'pending>approved', 'pending>rejected', 'pending>withdrawn', 'pending>expired',
      'approved>used', 'approved>expired', 'approved>withdrawn') THEN
    RAISE EXCEPTION 'an approval request cannot go from % to %', OLD.state, NEW.state
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER approval_guard BEFORE INSERT OR UPDATE OR DELETE ON kvops_approvalrequest
  FOR EACH ROW EXECUTE FUNCTION kvops_approval_guard();
CREATE TRIGGER approval_guard_truncate BEFORE TRUNCATE ON kvops_approvalrequest
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_approval_guard();
"""

RUNS = """
ALTER TABLE kvops_run ADD CONSTRAINT run_with_the_digest_approved
  FOREIGN KEY (approval_id, approval_digest) REFERENCES kvops_approvalrequest (id, digest);

CREATE FUNCTION kvops_run_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.approval_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM kvops_approvalrequest a
        WHERE a.id = NEW.approval_id AND a.state = 'used' AND a.subject = NEW.subject
          AND a.starter_id = NEW.started_by_id) THEN
      RAISE EXCEPTION 'a run needs an approval of its subject, claimed by the person who starts it'
        USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.kind, NEW.subject, NEW.approval_id, NEW.approval_digest, NEW.started_by_id, NEW.environment_id)
     IS DISTINCT FROM
     (OLD.id, OLD.kind, OLD.subject, OLD.approval_id, OLD.approval_digest, OLD.started_by_id, OLD.environment_id) THEN
    RAISE EXCEPTION 'what a run does cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.epoch < OLD.epoch THEN
    RAISE EXCEPTION 'the epoch of a run never goes back' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard BEFORE INSERT OR UPDATE ON kvops_run
  FOR EACH ROW EXECUTE FUNCTION kvops_run_guard();
"""

# The stage is rebuilt by the next scan, so it need not survive a crash of Postgres.
STAGE = "ALTER TABLE kvops_stagedkey SET UNLOGGED;"

CACHE = """
CREATE TABLE kvops_cache (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);
CREATE INDEX kvops_cache_expires ON kvops_cache (expires);
"""


class Migration(migrations.Migration):
    dependencies = [("kvops", "0001_initial")]

    operations = [
        migrations.RunSQL(
            APPROVALS,
            """
            DROP TRIGGER approval_guard_truncate ON kvops_approvalrequest;
            DROP TRIGGER approval_guard ON kvops_approvalrequest;
            DROP FUNCTION kvops_approval_guard;
            ALTER TABLE kvops_approvalrequest
              DROP CONSTRAINT approval_evidence_size, DROP CONSTRAINT approval_digest_is_of_evidence;
            """,
        ),
        migrations.RunSQL(
            RUNS,
            """
            DROP TRIGGER run_guard ON kvops_run;
            DROP FUNCTION kvops_run_guard;
            ALTER TABLE kvops_run DROP CONSTRAINT run_with_the_digest_approved;
            """,
        ),
        migrations.RunSQL(STAGE, "ALTER TABLE kvops_stagedkey SET LOGGED;"),
        migrations.RunSQL(CACHE, "DROP TABLE kvops_cache;"),
    ]
