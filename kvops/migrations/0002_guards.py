"""The rules of the database for approvals, runs and what stops them. No code of the application can get around them.

Constraints that Django knows stand in the models. Each function here is a trigger's, unless its comment says otherwise.
Triggers of one table fire by the alphabet of their names. Dropping a function with CASCADE drops its triggers.
"""

from django.db import migrations

# An approval request starts as pending, keeps what it asks for, moves as drawn and is never deleted.
# Its digest is the hash of its evidence.
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

# An approval request changes only when it moves, and the database's clock dates its moves.
APPROVAL_MOVES = """
CREATE FUNCTION kvops_approval_guard_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state = OLD.state AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'an approval request changes only when it moves' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.decided_at IS DISTINCT FROM OLD.decided_at AND NEW.decided_at NOT BETWEEN now() AND clock_timestamp())
     OR (NEW.used_at IS DISTINCT FROM OLD.used_at AND NEW.used_at NOT BETWEEN now() AND clock_timestamp()) THEN
    RAISE EXCEPTION 'the database says when a request is decided and used' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER approval_guard_moves BEFORE UPDATE ON kvops_approvalrequest
  FOR EACH ROW EXECUTE FUNCTION kvops_approval_guard_moves();
"""

# Nothing is approved while the evidence names a risk that the reviewer did not accept.
APPROVAL_RISKS = """
CREATE FUNCTION kvops_approval_guard_risks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state = 'pending' AND NEW.state = 'approved' THEN
    IF NEW.accepted IS DISTINCT FROM coalesce((NEW.evidence::json -> 'risks')::jsonb, '[]') THEN
      RAISE EXCEPTION 'every risk that the evidence names is accepted, and no other'
        USING ERRCODE = 'restrict_violation';
    END IF;
  ELSIF NEW.accepted IS DISTINCT FROM OLD.accepted THEN
    RAISE EXCEPTION 'what was accepted cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER approval_guard_risks BEFORE UPDATE ON kvops_approvalrequest
  FOR EACH ROW EXECUTE FUNCTION kvops_approval_guard_risks();
"""

# The end of a standing approval is fixed when it is requested.
STANDING_APPROVALS = """
CREATE FUNCTION kvops_approval_guard_standing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.standing_until IS DISTINCT FROM OLD.standing_until THEN
    RAISE EXCEPTION 'how long an approval stands cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER approval_guard_standing BEFORE UPDATE ON kvops_approvalrequest
  FOR EACH ROW EXECUTE FUNCTION kvops_approval_guard_standing();
"""

# A run with an approval carries the digest that was approved. The person who claimed the approval starts the run.
# An undo, a drill and the end of an investigation do not use up an approval: their own rules follow below.
RUNS = """
ALTER TABLE kvops_run ADD CONSTRAINT run_with_the_digest_approved
  FOREIGN KEY (approval_id, approval_digest) REFERENCES kvops_approvalrequest (id, digest);

CREATE FUNCTION kvops_run_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.approval_id IS NOT NULL AND NEW.kind NOT IN ('undo', 'drill', 'prune_investigation') AND NOT EXISTS (
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

# A run moves as drawn. A run that had an approval is never deleted: the approval could carry a second run otherwise.
RUN_MOVES = """
CREATE FUNCTION kvops_run_guard_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    RAISE EXCEPTION 'the runs are never truncated' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN
    IF OLD.approval_id IS NOT NULL THEN
      RAISE EXCEPTION 'a run that had an approval is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.kind = 'delete' AND NEW.approval_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM kvops_approvalrequest a
        WHERE a.id = NEW.approval_id AND a.kind = 'delete_keys' AND a.environment_id = NEW.environment_id) THEN
      RAISE EXCEPTION 'a deletion needs an approval to delete keys of its environment'
        USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'queued>running', 'running>succeeded', 'running>failed', 'running>stopped',
      'failed>queued', 'stopped>queued') THEN
    RAISE EXCEPTION 'a run cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_moves BEFORE INSERT OR UPDATE OR DELETE ON kvops_run
  FOR EACH ROW EXECUTE FUNCTION kvops_run_guard_moves();
CREATE TRIGGER run_guard_truncate BEFORE TRUNCATE ON kvops_run
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_run_guard_moves();
"""

# Each kind of run needs an approval of its own kind. An undo uses the approval of its deletion, for 72 hours.
RUN_KINDS = """
CREATE FUNCTION kvops_run_guard_restores() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER run_guard_restores BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.approval_id IS NOT NULL) EXECUTE FUNCTION kvops_run_guard_restores();
CREATE TRIGGER run_guard_succeeded BEFORE UPDATE ON kvops_run
  FOR EACH ROW WHEN (OLD.state = 'succeeded') EXECUTE FUNCTION kvops_run_guard_restores();
"""

# A restore drill runs under a standing approval of its environment.
RUN_DRILLS = """
CREATE FUNCTION kvops_run_guard_drills() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'drill' AND a.state = 'approved' AND a.subject = NEW.subject
        AND a.environment_id = NEW.environment_id AND a.standing_until > now()) THEN
    RAISE EXCEPTION 'a drill needs an approval that stands in its environment' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_drills BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.kind = 'drill') EXECUTE FUNCTION kvops_run_guard_drills();
"""

# The backup of an investigation is deleted under the standing approval of that investigation.
RUN_INVESTIGATIONS = """
CREATE FUNCTION kvops_run_guard_investigations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'investigation' AND a.state = 'approved' AND a.subject = NEW.subject
        AND a.environment_id = NEW.environment_id AND a.standing_until > now()
        AND a.approver_id IS DISTINCT FROM NEW.started_by_id) THEN
    RAISE EXCEPTION 'the backup of an investigation goes under an approval that stands for it, by another person'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_investigations BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.kind = 'prune_investigation') EXECUTE FUNCTION kvops_run_guard_investigations();
"""

# An emergency stop is released by a used approval. While a stop is on, no approved run begins.
STOPS = """
CREATE FUNCTION kvops_stop_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'an emergency stop is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.released_at IS NOT NULL THEN
      RAISE EXCEPTION 'an emergency stop starts in force' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.released_at IS NOT NULL OR (NEW.id, NEW.environment_id, NEW.by_id, NEW.at, NEW.reason)
     IS DISTINCT FROM (OLD.id, OLD.environment_id, OLD.by_id, OLD.at, OLD.reason) THEN
    RAISE EXCEPTION 'an emergency stop cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.approval_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'release_stop' AND a.state = 'used'
        AND a.subject = 'stop:' || NEW.id) THEN
    RAISE EXCEPTION 'an emergency stop is released by a used approval of its release'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stop_guard BEFORE INSERT OR UPDATE OR DELETE ON kvops_emergencystop
  FOR EACH ROW EXECUTE FUNCTION kvops_stop_guard();
CREATE TRIGGER stop_guard_truncate BEFORE TRUNCATE ON kvops_emergencystop
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_stop_guard();

CREATE FUNCTION kvops_run_guard_stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM kvops_emergencystop s
             WHERE s.environment_id = NEW.environment_id AND s.released_at IS NULL) THEN
    RAISE EXCEPTION 'no approved run begins while the emergency stop is on' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_stop BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.approval_id IS NOT NULL) EXECUTE FUNCTION kvops_run_guard_stop();
"""

# A rollback stays as it was found and is accepted once. Until then no approved run begins.
ROLLBACKS = """
CREATE FUNCTION kvops_rollback_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a rollback is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.accepted_at IS NOT NULL THEN
      RAISE EXCEPTION 'a rollback starts in force' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.accepted_at IS NOT NULL OR (NEW.id, NEW.environment_id, NEW.manifest_key, NEW.modified_at, NEW.sequence,
      NEW.hash, NEW.our_sequence, NEW.our_hash, NEW.found_at)
     IS DISTINCT FROM (OLD.id, OLD.environment_id, OLD.manifest_key, OLD.modified_at, OLD.sequence,
      OLD.hash, OLD.our_sequence, OLD.our_hash, OLD.found_at) THEN
    RAISE EXCEPTION 'a rollback cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER rollback_guard BEFORE INSERT OR UPDATE OR DELETE ON kvops_databaserollback
  FOR EACH ROW EXECUTE FUNCTION kvops_rollback_guard();
CREATE TRIGGER rollback_guard_truncate BEFORE TRUNCATE ON kvops_databaserollback
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_rollback_guard();

CREATE FUNCTION kvops_run_guard_rollback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM kvops_databaserollback WHERE accepted_at IS NULL) THEN
    RAISE EXCEPTION 'no approved run begins while the database contradicts a bucket'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_rollback BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.approval_id IS NOT NULL) EXECUTE FUNCTION kvops_run_guard_rollback();
"""

# The namespace for restore drills is bound as nothing else.
SCRATCH = """
CREATE FUNCTION kvops_scratch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    RAISE EXCEPTION 'the scratch namespaces are never truncated' USING ERRCODE = 'restrict_violation';
  END IF;
  IF EXISTS (SELECT FROM kvops_namespace n JOIN kvops_scratch s ON s.namespace_id = n.namespace_id
             WHERE n.namespace_id = NEW.namespace_id) THEN
    RAISE EXCEPTION 'a scratch namespace is bound as nothing else' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER scratch_guard AFTER INSERT OR UPDATE ON kvops_scratch
  FOR EACH ROW EXECUTE FUNCTION kvops_scratch_guard();
CREATE TRIGGER scratch_guard_namespace AFTER INSERT OR UPDATE ON kvops_namespace
  FOR EACH ROW EXECUTE FUNCTION kvops_scratch_guard();
CREATE TRIGGER scratch_guard_truncate BEFORE TRUNCATE ON kvops_scratch
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_scratch_guard();
"""

# The next scan fills this table anew, so it need not survive a crash of Postgres. ANALYZE is the owner's alone:
# the application calls the function, which is no trigger's.
STAGE = """
ALTER TABLE kvops_stagedkey SET UNLOGGED;

CREATE FUNCTION kvops_analyze_stage() RETURNS void LANGUAGE sql SECURITY DEFINER
  SET search_path = public, pg_temp AS 'ANALYZE kvops_stagedkey';
"""

# The table of Django's cache, which is no model.
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
            DROP FUNCTION kvops_approval_guard CASCADE;
            ALTER TABLE kvops_approvalrequest
              DROP CONSTRAINT approval_evidence_size, DROP CONSTRAINT approval_digest_is_of_evidence;
            """,
        ),
        migrations.RunSQL(APPROVAL_MOVES, "DROP FUNCTION kvops_approval_guard_moves CASCADE;"),
        migrations.RunSQL(APPROVAL_RISKS, "DROP FUNCTION kvops_approval_guard_risks CASCADE;"),
        migrations.RunSQL(STANDING_APPROVALS, "DROP FUNCTION kvops_approval_guard_standing CASCADE;"),
        migrations.RunSQL(
            RUNS,
            """
            DROP FUNCTION kvops_run_guard CASCADE;
            ALTER TABLE kvops_run DROP CONSTRAINT run_with_the_digest_approved;
            """,
        ),
        migrations.RunSQL(RUN_MOVES, "DROP FUNCTION kvops_run_guard_moves CASCADE;"),
        migrations.RunSQL(RUN_KINDS, "DROP FUNCTION kvops_run_guard_restores CASCADE;"),
        migrations.RunSQL(RUN_DRILLS, "DROP FUNCTION kvops_run_guard_drills CASCADE;"),
        migrations.RunSQL(RUN_INVESTIGATIONS, "DROP FUNCTION kvops_run_guard_investigations CASCADE;"),
        migrations.RunSQL(STOPS, "DROP FUNCTION kvops_stop_guard, kvops_run_guard_stop CASCADE;"),
        migrations.RunSQL(ROLLBACKS, "DROP FUNCTION kvops_rollback_guard, kvops_run_guard_rollback CASCADE;"),
        migrations.RunSQL(SCRATCH, "DROP FUNCTION kvops_scratch_guard CASCADE;"),
        migrations.RunSQL(
            STAGE,
            """
            DROP FUNCTION kvops_analyze_stage CASCADE;
            ALTER TABLE kvops_stagedkey SET LOGGED;
            """,
        ),
        migrations.RunSQL(CACHE, "DROP TABLE kvops_cache;"),
    ]
