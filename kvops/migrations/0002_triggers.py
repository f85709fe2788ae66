"""The rules of the database for approvals, runs, what stops them, the policy, code references, the runbook and people.

No code of the application can get around them. Constraints that Django knows stand in the models. Each function here is
a trigger's, unless its comment says otherwise. Triggers of one table fire by the alphabet of their names. Dropping a
function with CASCADE drops its triggers.
"""

from django.core.management import CommandError
from django.db import DatabaseError, migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# An approval request starts as pending, keeps what it asks for, moves as drawn and is never deleted.
# Its digest is the hash of its evidence. Nobody decides on their own roles.
APPROVALS = """
ALTER TABLE kvops_approvalrequest
  ADD CONSTRAINT approval_digest_is_of_evidence
    CHECK (digest = encode(sha256(convert_to(evidence, 'UTF8')), 'hex')),
  ADD CONSTRAINT approval_evidence_size CHECK (octet_length(evidence) BETWEEN 2 AND 65536),
  ADD CONSTRAINT approval_not_about_the_approver
    CHECK (kind <> 'role' OR approver_id IS NULL OR subject <> 'person:' || approver_id);

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
# An undo, a drill, the end of an investigation and a scheduled clearing do not use up an approval: their own rules
# follow below.
RUNS = """
ALTER TABLE kvops_run ADD CONSTRAINT run_with_the_digest_approved
  FOREIGN KEY (approval_id, approval_digest) REFERENCES kvops_approvalrequest (id, digest);

CREATE FUNCTION kvops_run_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.approval_id IS NOT NULL
       AND NEW.kind NOT IN ('undo', 'drill', 'prune_investigation', 'clear') AND NOT EXISTS (
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
  IF NEW.kind NOT IN ('delete', 'restore', 'undo', 'prune', 'drill', 'prune_investigation', 'clear', 'change',
                      'bulk_change') THEN
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

# A scheduled clearing runs under the standing approval of its rule. Whoever approved it does not start it by hand.
RUN_CLEARINGS = """
CREATE FUNCTION kvops_run_guard_clearings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'clearing' AND a.state = 'approved' AND a.subject = NEW.subject
        AND a.environment_id = NEW.environment_id AND a.standing_until > now()
        AND a.approver_id IS DISTINCT FROM NEW.started_by_id) THEN
    RAISE EXCEPTION 'a scheduled clearing needs an approval that stands for its rule, by another person'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_clearings BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.kind = 'clear') EXECUTE FUNCTION kvops_run_guard_clearings();
"""

# A bulk change runs with an approval of its own kind.
RUN_BULK_CHANGES = """
CREATE FUNCTION kvops_run_guard_bulk_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'bulk_change' AND a.environment_id = NEW.environment_id) THEN
    RAISE EXCEPTION 'a bulk change needs an approval to change many keys of its environment'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_bulk_changes BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.kind = 'bulk_change') EXECUTE FUNCTION kvops_run_guard_bulk_changes();
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

# A version of the policy is never edited, and its digest is that of its text.
POLICY_VERSIONS = """
ALTER TABLE kvops_policyversion
  ADD CONSTRAINT policy_digest_is_of_definition
    CHECK (digest = encode(sha256(convert_to(definition, 'UTF8')), 'hex'));

CREATE FUNCTION kvops_policy_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a version of the policy is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RAISE EXCEPTION 'a version of the policy is never edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER policy_guard BEFORE UPDATE OR DELETE ON kvops_policyversion
  FOR EACH ROW EXECUTE FUNCTION kvops_policy_guard();
CREATE TRIGGER policy_guard_truncate BEFORE TRUNCATE ON kvops_policyversion
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_policy_guard();
"""

# A search for code references and its hits stay as they were found.
REFERENCES = """
CREATE FUNCTION kvops_reference_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a search for references is never deleted or edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER reference_guard BEFORE UPDATE OR DELETE ON kvops_referencesearch
  FOR EACH ROW EXECUTE FUNCTION kvops_reference_guard();
CREATE TRIGGER reference_guard_truncate BEFORE TRUNCATE ON kvops_referencesearch
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_reference_guard();
CREATE TRIGGER reference_guard BEFORE UPDATE OR DELETE ON kvops_referencehit
  FOR EACH ROW EXECUTE FUNCTION kvops_reference_guard();
CREATE TRIGGER reference_guard_truncate BEFORE TRUNCATE ON kvops_referencehit
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_reference_guard();
"""

# Who may answer a code reference, for which hit, and which searches close a follow-up. A follow-up is closed once the
# newest search of its own code is later than its hit, and no newest search of any environment has such a hit.
# The first two functions are no triggers: the third asks them.
ANSWERS = """
CREATE FUNCTION kvops_newest_searches() RETURNS SETOF kvops_referencesearch LANGUAGE sql STABLE AS $$
  SELECT DISTINCT ON (environment_id, worker) * FROM kvops_referencesearch
  ORDER BY environment_id, worker, searched_at DESC, id DESC
$$;

CREATE FUNCTION kvops_hit_concerns(hit_id bigint, family_id bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM (
      SELECT family.*, search.environment_id, hit.family AS whole, split_part(hit.family, ' ', 1) AS name,
        regexp_replace(substr(hit.family, strpos(hit.family, ' ') + 1), '[*]$', '') AS stem,
        hit.family LIKE '%*' AS open
      FROM kvops_referencehit hit JOIN kvops_referencesearch search ON search.id = hit.search_id, kvops_family family
      WHERE hit.id = $1 AND family.id = $2
    ) one
    WHERE whole = '*' OR (
      (name = binding OR EXISTS (
        SELECT FROM kvops_deployedcode code JOIN kvops_namespace bound USING (environment_id)
        WHERE code.environment_id = one.environment_id AND bound.binding = one.binding
          AND code.bindings ->> one.name = bound.namespace_id))
      AND (open AND starts_with(pattern, stem)
           OR NOT exact AND starts_with(stem, pattern)
           OR NOT open AND exact AND stem = pattern))
  )
$$;

CREATE FUNCTION kvops_answer_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.closed_by_id IS NOT NULL THEN
      RAISE EXCEPTION 'a follow-up begins open' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (SELECT FROM kvops_referencehit WHERE id = NEW.hit_id AND fingerprint = NEW.fingerprint) THEN
      RAISE EXCEPTION 'an answer has the fingerprint of its hit' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (
      SELECT FROM kvops_rolegrant held JOIN kvops_user login USING (person_id)
      WHERE held.person_id = NEW.by_id AND held.role = 'operator' AND held.revoked_at IS NULL AND login.is_active
    ) THEN
      RAISE EXCEPTION 'an answer is given by an operator with an active login' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.reason <> '' AND btrim(NEW.reason, E' \\t\\r\\n') = '' THEN
      RAISE EXCEPTION 'an answer has a reason that can be read' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.at <> statement_timestamp() THEN
      RAISE EXCEPTION 'an answer is of now' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT kvops_hit_concerns(NEW.hit_id, NEW.family_id) THEN
      RAISE EXCEPTION 'an answer is for a family that its hit may use' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'an answer is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (to_jsonb(OLD) - '{closed_by_id,closed_at}'::text[]) IS DISTINCT FROM
     (to_jsonb(NEW) - '{closed_by_id,closed_at}'::text[]) OR OLD.closed_by_id IS NOT NULL THEN
    RAISE EXCEPTION 'an answer is never edited; a later search closes a follow-up once'
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF NOT EXISTS (
    SELECT FROM kvops_referencehit hit JOIN kvops_referencesearch earlier ON earlier.id = hit.search_id
    JOIN kvops_newest_searches() newest USING (environment_id, worker)
    WHERE hit.id = NEW.hit_id AND newest.searched_at > earlier.searched_at
  ) OR NOT EXISTS (
    SELECT FROM kvops_newest_searches() newest WHERE newest.id = NEW.closed_by_id
  ) THEN
    RAISE EXCEPTION 'only a later search of the same code closes a follow-up' USING ERRCODE = 'restrict_violation';
  END IF;
  IF EXISTS (
    SELECT FROM kvops_referencehit hit JOIN kvops_referencesearch earlier ON earlier.id = hit.search_id,
      kvops_newest_searches() newest
    WHERE hit.id = NEW.hit_id AND (
      newest.worker = earlier.worker AND newest.unparsed ? hit.file
      OR EXISTS (
        SELECT FROM kvops_referencehit later WHERE later.search_id = newest.id AND (
          later.fingerprint = NEW.fingerprint
          OR newest.worker = earlier.worker
             AND (later.family, later.file, later.text) = (hit.family, hit.file, hit.text))))
  ) THEN
    RAISE EXCEPTION 'no follow-up is closed while a newest search has such a hit' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER answer_guard BEFORE INSERT OR UPDATE OR DELETE ON kvops_referenceanswer
  FOR EACH ROW EXECUTE FUNCTION kvops_answer_guard();
CREATE TRIGGER answer_guard_truncate BEFORE TRUNCATE ON kvops_referenceanswer
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_answer_guard();
"""

# Notes and stated operations of the runbook stay as they were written. A to-do keeps what it says, and is done once.
RUNBOOK = """
CREATE FUNCTION kvops_note_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a note of the runbook is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RAISE EXCEPTION 'a note of the runbook is never edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER note_guard BEFORE UPDATE OR DELETE ON kvops_runbooknote
  FOR EACH ROW EXECUTE FUNCTION kvops_note_guard();
CREATE TRIGGER note_guard_truncate BEFORE TRUNCATE ON kvops_runbooknote
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_note_guard();

CREATE FUNCTION kvops_stated_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a stated operation is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RAISE EXCEPTION 'a stated operation is never edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER stated_guard BEFORE UPDATE OR DELETE ON kvops_statedoperation
  FOR EACH ROW EXECUTE FUNCTION kvops_stated_guard();
CREATE TRIGGER stated_guard_truncate BEFORE TRUNCATE ON kvops_statedoperation
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_stated_guard();

CREATE FUNCTION kvops_todo_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a to-do of the runbook is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.entry, NEW.text, NEW.owner_id, NEW.due, NEW.created_by_id, NEW.created_at)
     IS DISTINCT FROM
     (OLD.id, OLD.entry, OLD.text, OLD.owner_id, OLD.due, OLD.created_by_id, OLD.created_at) THEN
    RAISE EXCEPTION 'a to-do of the runbook cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.done_at IS NOT NULL THEN
    RAISE EXCEPTION 'a to-do of the runbook is done once' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER todo_guard BEFORE UPDATE OR DELETE ON kvops_runbooktodo
  FOR EACH ROW EXECUTE FUNCTION kvops_todo_guard();
CREATE TRIGGER todo_guard_truncate BEFORE TRUNCATE ON kvops_runbooktodo
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_todo_guard();
"""

# People come and go by approved requests. The database refuses every other way in, and the loss of the last reviewer.
# These functions are no triggers: the three guards below ask them. Only an approval that this transaction used counts.
PEOPLE = """
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

# A role is granted and revoked by an approval. A grant without an approval is the first set-up's: all of it is one
# transaction, and it ends when the first reviewer is there. Two revocations at once wait for each other.
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

# Metadata is the API's own text. Text that jsonb cannot hold, such as U+0000 or a huge number, has no member.
# The function is no trigger's.
HAS_MEMBER = """
CREATE FUNCTION kvops_has_member(metadata text, member text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN metadata LIKE '{%' AND metadata::jsonb ? member;
EXCEPTION WHEN data_exception THEN
  RETURN false;
END $$;
"""

REFUSED = (
    "PostgreSQL did not create the extension pg_trgm, by which keys are found: {error} If the extension is not"
    " available, install PostgreSQL's contrib modules on its server. If the permission is missing, have a superuser"
    " run “CREATE EXTENSION pg_trgm” in the database {database}. Then run migrate again."
)


def create_extension(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    connection = schema_editor.connection
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") + "."
        raise CommandError(REFUSED.format(error=reason, database=connection.settings_dict["NAME"])) from error


# Key names are found by a part. The extension may be in any schema, also in one that the search path does not have.
PARTS_OF_NAMES = """
DO $$ DECLARE home text; BEGIN
  SELECT n.nspname INTO STRICT home
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
  EXECUTE format('CREATE INDEX key_by_part ON kvops_key USING gin (name %I.gin_trgm_ops)', home);
END $$;
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
    dependencies = [("kvops", "0001_tables")]

    operations = [
        migrations.RunPython(create_extension, migrations.RunPython.noop),
        migrations.RunSQL(
            APPROVALS,
            """
            DROP FUNCTION kvops_approval_guard CASCADE;
            ALTER TABLE kvops_approvalrequest
              DROP CONSTRAINT approval_not_about_the_approver,
              DROP CONSTRAINT approval_evidence_size,
              DROP CONSTRAINT approval_digest_is_of_evidence;
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
        migrations.RunSQL(RUN_CLEARINGS, "DROP FUNCTION kvops_run_guard_clearings CASCADE;"),
        migrations.RunSQL(RUN_BULK_CHANGES, "DROP FUNCTION kvops_run_guard_bulk_changes CASCADE;"),
        migrations.RunSQL(STOPS, "DROP FUNCTION kvops_stop_guard, kvops_run_guard_stop CASCADE;"),
        migrations.RunSQL(ROLLBACKS, "DROP FUNCTION kvops_rollback_guard, kvops_run_guard_rollback CASCADE;"),
        migrations.RunSQL(SCRATCH, "DROP FUNCTION kvops_scratch_guard CASCADE;"),
        migrations.RunSQL(
            POLICY_VERSIONS,
            """
            DROP FUNCTION kvops_policy_guard CASCADE;
            ALTER TABLE kvops_policyversion DROP CONSTRAINT policy_digest_is_of_definition;
            """,
        ),
        migrations.RunSQL(REFERENCES, "DROP FUNCTION kvops_reference_guard CASCADE;"),
        migrations.RunSQL(
            ANSWERS, "DROP FUNCTION kvops_answer_guard, kvops_hit_concerns, kvops_newest_searches CASCADE;"
        ),
        migrations.RunSQL(RUNBOOK, "DROP FUNCTION kvops_note_guard, kvops_stated_guard, kvops_todo_guard CASCADE;"),
        migrations.RunSQL(
            PEOPLE, "DROP FUNCTION kvops_role_approved, kvops_recovery_granted, kvops_other_reviewer_is_active CASCADE;"
        ),
        migrations.RunSQL(GRANTS, "DROP FUNCTION kvops_grant_guard CASCADE;"),
        migrations.RunSQL(LOGINS, "DROP FUNCTION kvops_login_guard CASCADE;"),
        migrations.RunSQL(RECOVERIES, "DROP FUNCTION kvops_recovery_guard CASCADE;"),
        migrations.RunSQL(HAS_MEMBER, "DROP FUNCTION kvops_has_member;"),
        migrations.RunSQL(PARTS_OF_NAMES, "DROP INDEX key_by_part;"),
        migrations.RunSQL(
            STAGE,
            """
            DROP FUNCTION kvops_analyze_stage CASCADE;
            ALTER TABLE kvops_stagedkey SET LOGGED;
            """,
        ),
        migrations.RunSQL(CACHE, "DROP TABLE kvops_cache;"),
    ]
