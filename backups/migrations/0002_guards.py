"""The rules of the database for backups, clean-ups, restores, prune requests, drills and investigations.

No code of the application can get around them. Constraints that Django knows stand in the models. Each function here is
a trigger's, unless its comment says otherwise. Triggers of one table fire by the alphabet of their names. Dropping a
function with CASCADE drops its triggers.
"""

from django.db import migrations

# A finished backup keeps its facts. Only its trust, its retention and its deletion move on.
# Deleting needs an approved run, 14 days of age, no pin, no reader, and a newer verified backup.
BACKUPS = """
CREATE FUNCTION backups_generation_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a backup is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.status <> 'writing' THEN
      RAISE EXCEPTION 'a backup starts as writing' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.status <> OLD.status AND (OLD.status || '>' || NEW.status) NOT IN (
      'writing>complete', 'writing>partial', 'complete>verified', 'complete>damaged', 'verified>damaged',
      'partial>deleting', 'complete>deleting', 'verified>deleting', 'damaged>deleting', 'deleting>deleted') THEN
    RAISE EXCEPTION 'a backup cannot go from % to %', OLD.status, NEW.status USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.retain_until < OLD.retain_until THEN
    RAISE EXCEPTION 'a backup is never kept for a shorter time' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.status <> 'writing' AND (
      NEW.id, NEW.environment_id, NEW.namespace_id, NEW.prefixes, NEW.category, NEW.patterns, NEW.purpose, NEW.read,
      NEW.run_id, NEW.made_by_id, NEW.actor, NEW.bucket, NEW.stem, NEW.manifest_key, NEW.manifest_sha256,
      NEW.digest_root, NEW.keys, NEW.bytes, NEW.expired, NEW.vanished, NEW.calls, NEW.started_at, NEW.finished_at)
     IS DISTINCT FROM (
      OLD.id, OLD.environment_id, OLD.namespace_id, OLD.prefixes, OLD.category, OLD.patterns, OLD.purpose, OLD.read,
      OLD.run_id, OLD.made_by_id, OLD.actor, OLD.bucket, OLD.stem, OLD.manifest_key, OLD.manifest_sha256,
      OLD.digest_root, OLD.keys, OLD.bytes, OLD.expired, OLD.vanished, OLD.calls, OLD.started_at, OLD.finished_at)
  THEN
    RAISE EXCEPTION 'what a finished backup is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.status = 'deleting' AND OLD.status <> 'deleting' THEN
    IF OLD.purpose = 'investigation' THEN
      IF NOT EXISTS (
          SELECT FROM backups_investigation i
          JOIN kvops_run r ON r.id = i.run_id
          JOIN kvops_approvalrequest a ON a.id = r.approval_id
          WHERE i.generation_id = OLD.id AND (i.closed_at IS NOT NULL OR i.ends_at <= statement_timestamp())
            AND r.kind = 'prune_investigation' AND r.state = 'running' AND r.subject = 'investigation:' || i.id
            AND a.kind = 'investigation' AND a.state = 'approved' AND a.subject = r.subject
            AND a.standing_until > now()) THEN
        RAISE EXCEPTION 'the backup of an investigation is deleted at its end, by the run of its approval'
          USING ERRCODE = 'restrict_violation';
      END IF;
    ELSE
      IF now() < greatest(OLD.retain_until, OLD.finished_at + interval '14 days') THEN
        RAISE EXCEPTION 'a backup is kept for at least 14 days' USING ERRCODE = 'restrict_violation';
      END IF;
      IF NOT EXISTS (
          SELECT FROM backups_pruneentry e
          JOIN backups_prunerequest d ON d.id = e.prune_id
          JOIN kvops_approvalrequest a ON a.id = d.approval_id
          JOIN kvops_run r ON r.id = d.run_id
          WHERE e.generation_id = OLD.id AND e.outcome = 'planned' AND d.state = 'deleting'
            AND d.environment_id = OLD.environment_id AND a.state = 'used' AND r.state = 'running') THEN
        RAISE EXCEPTION 'a backup is deleted by the run of an approved prune request'
          USING ERRCODE = 'restrict_violation';
      END IF;
    END IF;
    IF EXISTS (SELECT FROM backups_pin p WHERE p.generation_id = OLD.id AND p.removed_at IS NULL) THEN
      RAISE EXCEPTION 'a pinned backup is not deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (SELECT FROM backups_restore x WHERE x.state NOT IN ('done', 'ended')
                 AND OLD.id IN (x.generation_id, x.safety_id))
       OR EXISTS (SELECT FROM backups_cleanupstage s WHERE s.generation_id = OLD.id
                    AND s.state NOT IN ('confirmed', 'accepted', 'ended')) THEN
      RAISE EXCEPTION 'a backup that is needed is not deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.category <> 'cache' AND OLD.purpose <> 'investigation' AND NOT EXISTS (
        SELECT FROM backups_generation g
        WHERE g.namespace_id = OLD.namespace_id AND g.status = 'verified' AND g.id > OLD.id) THEN
      RAISE EXCEPTION 'the newest verified backup is not deleted' USING ERRCODE = 'restrict_violation';
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER generation_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_generation
  FOR EACH ROW EXECUTE FUNCTION backups_generation_guard();
"""

# A finished backup keeps its source and tables.
BACKUP_SOURCES = """
CREATE FUNCTION backups_source_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.status <> 'writing' AND (NEW.source, NEW.tables) IS DISTINCT FROM (OLD.source, OLD.tables) THEN
    RAISE EXCEPTION 'what a finished backup is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER source_guard BEFORE UPDATE ON backups_generation
  FOR EACH ROW EXECUTE FUNCTION backups_source_guard();
"""

# An encrypted backup has two recipients at least. A finished backup keeps its recipients and key of digests.
BACKUP_ENCRYPTION = """
CREATE FUNCTION backups_encryption_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF jsonb_typeof(NEW.recipients) <> 'array' OR jsonb_array_length(NEW.recipients) = 1 THEN
    RAISE EXCEPTION 'a backup is encrypted to two recipients at least' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.status <> 'writing' AND
     (NEW.recipients, NEW.digest_key) IS DISTINCT FROM (OLD.recipients, OLD.digest_key) THEN
    RAISE EXCEPTION 'what a finished backup is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER encryption_guard BEFORE INSERT OR UPDATE ON backups_generation
  FOR EACH ROW EXECUTE FUNCTION backups_encryption_guard();
"""

# The contents of a finished backup are frozen. COPY brings a million names, so the triggers fire once per statement.
# The lock lets finishing a backup and writing to it wait for each other.
BACKUP_CONTENTS = """
CREATE FUNCTION backups_contents_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT bool_or(g.status <> 'writing') FROM (
      SELECT status FROM backups_generation WHERE id IN (SELECT generation_id FROM changed) FOR SHARE) g) THEN
    RAISE EXCEPTION 'the contents of a finished backup cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER entry_guard_delete_old AFTER DELETE ON backups_generationentry REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_contents_guard();
CREATE TRIGGER entry_guard_insert_new AFTER INSERT ON backups_generationentry REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_contents_guard();
CREATE TRIGGER entry_guard_update_new AFTER UPDATE ON backups_generationentry REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_contents_guard();
CREATE TRIGGER entry_guard_update_old AFTER UPDATE ON backups_generationentry REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_contents_guard();
CREATE TRIGGER part_guard_delete_old AFTER DELETE ON backups_generationpart REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_contents_guard();
CREATE TRIGGER part_guard_insert_new AFTER INSERT ON backups_generationpart REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_contents_guard();
CREATE TRIGGER part_guard_update_new AFTER UPDATE ON backups_generationpart REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_contents_guard();
CREATE TRIGGER part_guard_update_old AFTER UPDATE ON backups_generationpart REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_contents_guard();
"""

# An integrity check starts as pending and is decided once.
CHECKS = """
CREATE FUNCTION backups_check_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a check is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.outcome <> 'pending' THEN
      RAISE EXCEPTION 'a check starts as pending' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.outcome <> OLD.outcome AND OLD.outcome <> 'pending' THEN
    RAISE EXCEPTION 'a check cannot go from % to %', OLD.outcome, NEW.outcome USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.outcome <> 'pending' AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a finished check cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER check_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_check
  FOR EACH ROW EXECUTE FUNCTION backups_check_guard();
"""

# Backups and checks are never truncated.
BACKUP_TRUNCATION = """
CREATE FUNCTION backups_refuse_truncate_backups() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'backups and checks are never truncated' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER check_guard_truncate BEFORE TRUNCATE ON backups_check
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_backups();
CREATE TRIGGER entry_guard_truncate BEFORE TRUNCATE ON backups_generationentry
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_backups();
CREATE TRIGGER generation_guard_truncate BEFORE TRUNCATE ON backups_generation
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_backups();
CREATE TRIGGER part_guard_truncate BEFORE TRUNCATE ON backups_generationpart
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_backups();
"""

# A pin is set once, removed once and never deleted.
PINS = """
CREATE FUNCTION backups_pin_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a pin is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.removed_at IS NOT NULL THEN
      RAISE EXCEPTION 'a pin starts in force' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.removed_at IS NOT NULL OR (NEW.id, NEW.generation_id, NEW.person_id, NEW.reason, NEW.at)
     IS DISTINCT FROM (OLD.id, OLD.generation_id, OLD.person_id, OLD.reason, OLD.at) THEN
    RAISE EXCEPTION 'a pin cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER pin_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_pin
  FOR EACH ROW EXECUTE FUNCTION backups_pin_guard();
CREATE TRIGGER pin_guard_truncate BEFORE TRUNCATE ON backups_pin
  FOR EACH STATEMENT EXECUTE FUNCTION backups_pin_guard();
"""

# The share of a backup made for a deletion is recorded once. A message counts only after its delivery.
SHARES = """
CREATE FUNCTION backups_share_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'what was said of a backup is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'UPDATE' THEN
    RAISE EXCEPTION 'how a backup was shared cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.notification_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_notification n
      WHERE n.id = NEW.notification_id AND n.event = 'backup.for_deletion' AND n.person_id IS NULL
        AND n.subject = 'generation:' || NEW.generation_id AND n.state = 'delivered') THEN
    RAISE EXCEPTION 'a backup is shared by its own message, which was delivered' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER share_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_backupshare
  FOR EACH ROW EXECUTE FUNCTION backups_share_guard();
CREATE TRIGGER share_guard_truncate BEFORE TRUNCATE ON backups_backupshare
  FOR EACH STATEMENT EXECUTE FUNCTION backups_share_guard();
"""

# A clean-up has the category of its family, keeps its target and is never deleted.
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
  IF (NEW.id, NEW.binding, NEW.prefix, NEW.family_id, NEW.category, NEW.reason, NEW.requested_by_id, NEW.created_at,
      NEW.asked_by)
     IS DISTINCT FROM
     (OLD.id, OLD.binding, OLD.prefix, OLD.family_id, OLD.category, OLD.reason, OLD.requested_by_id, OLD.created_at,
      OLD.asked_by) THEN
    RAISE EXCEPTION 'what a clean-up is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (OLD.ended_at IS NOT NULL OR OLD.completed_at IS NOT NULL) AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a clean-up that is over cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER request_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_cleanuprequest
  FOR EACH ROW EXECUTE FUNCTION backups_request_guard();

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

# A stage moves as drawn, keeps its target, and keeps its names and evidence once they are approved.
STAGES = """
CREATE FUNCTION backups_stage_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a stage is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'waiting>frozen', 'frozen>backed_up', 'backed_up>verified', 'verified>checked',
      'verified>submitted', 'checked>submitted', 'submitted>approved', 'approved>deleting',
      'deleting>deleted', 'deleted>confirmed', 'confirmed>accepted', 'frozen>confirmed',
      'backed_up>frozen', 'verified>frozen', 'checked>frozen', 'submitted>frozen', 'approved>frozen',
      'waiting>ended', 'frozen>ended', 'backed_up>ended', 'verified>ended', 'checked>ended',
      'submitted>ended', 'approved>ended') THEN
    RAISE EXCEPTION 'a stage cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state = 'frozen' AND NEW.state = 'confirmed' AND NEW.names <> 0 THEN
    RAISE EXCEPTION 'only a stage without names needs no deletion' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.request_id, NEW.environment_id, NEW.namespace_id, NEW."order")
     IS DISTINCT FROM (OLD.request_id, OLD.environment_id, OLD.namespace_id, OLD."order") THEN
    RAISE EXCEPTION 'the target of a stage cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state NOT IN ('waiting', 'frozen') AND (NEW.names, NEW.names_sha256, NEW.scan_id)
     IS DISTINCT FROM (OLD.names, OLD.names_sha256, OLD.scan_id) THEN
    RAISE EXCEPTION 'the names of a stage are frozen' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state IN ('submitted', 'approved', 'deleting', 'deleted') AND NEW.state <> 'frozen'
     AND (NEW.generation_id, NEW.check_passed_id, NEW.approval_id, NEW.scope_digest)
     IS DISTINCT FROM (OLD.generation_id, OLD.check_passed_id, OLD.approval_id, OLD.scope_digest) THEN
    RAISE EXCEPTION 'what a stage was approved for cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stage_guard BEFORE UPDATE OR DELETE ON backups_cleanupstage
  FOR EACH ROW EXECUTE FUNCTION backups_stage_guard();
"""

# A stage moves on only with its proof: a verified backup, a passed check, an approval, the run of that approval.
# The table's constraints say that each of them is there. The function judges only those that are.
STAGE_EVIDENCE = """
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
    RAISE EXCEPTION 'a stage is not % by this backup', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'checked' AND NEW.check_passed_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM backups_check c
      WHERE c.id = NEW.check_passed_id AND c.generation_id = NEW.generation_id AND c.outcome = 'passed') THEN
    RAISE EXCEPTION 'a stage is checked by a passed check of its backup' USING ERRCODE = 'restrict_violation';
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
CREATE TRIGGER stage_guard_moves BEFORE INSERT OR UPDATE ON backups_cleanupstage
  FOR EACH ROW EXECUTE FUNCTION backups_stage_guard_moves();
"""

# A stage is submitted only after its backup was shared.
STAGE_SHARES = """
CREATE FUNCTION backups_stage_guard_shared() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM backups_backupshare WHERE generation_id = NEW.generation_id) THEN
    RAISE EXCEPTION 'a stage is submitted only when its backup was shared' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stage_guard_shared BEFORE UPDATE ON backups_cleanupstage
  FOR EACH ROW WHEN (NEW.state = 'submitted' AND OLD.state <> 'submitted' AND NEW.generation_id IS NOT NULL)
  EXECUTE FUNCTION backups_stage_guard_shared();
"""

# The list of keys of a stage is frozen once the stage leaves `frozen`. The lock keeps the stage from leaving meanwhile.
ENTRIES = """
CREATE FUNCTION backups_entry_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE of_stage bigint; its_state text;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    RAISE EXCEPTION 'a frozen name cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN of_stage := OLD.stage_id; ELSE of_stage := NEW.stage_id; END IF;
  SELECT state INTO its_state FROM backups_cleanupstage WHERE id = of_stage FOR SHARE;
  IF its_state NOT IN ('waiting', 'frozen') THEN
    RAISE EXCEPTION 'the names of a stage are frozen' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER entry_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_cleanupentry
  FOR EACH ROW EXECUTE FUNCTION backups_entry_guard();
"""

# A chunk moves as drawn and keeps its range and its set of names. A settled chunk never changes.
CHUNKS = """
CREATE FUNCTION backups_chunk_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a chunk is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'planned>intended', 'planned>settled', 'intended>sent', 'intended>settled', 'sent>settled') THEN
    RAISE EXCEPTION 'a chunk cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state <> 'planned' AND (NEW.first_index, NEW.last_index, NEW.names_sha256, NEW.names, NEW.intended_at)
     IS DISTINCT FROM (OLD.first_index, OLD.last_index, OLD.names_sha256, OLD.names, OLD.intended_at) THEN
    RAISE EXCEPTION 'what a chunk was meant to delete cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER chunk_guard BEFORE UPDATE OR DELETE ON backups_cleanupchunk
  FOR EACH ROW EXECUTE FUNCTION backups_chunk_guard();

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

# While the emergency stop of its environment is on, no chunk is sent.
CHUNKS_STOPPED = """
CREATE FUNCTION backups_chunk_guard_stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM kvops_emergencystop s JOIN backups_cleanupstage g ON g.environment_id = s.environment_id
             WHERE g.id = NEW.stage_id AND s.released_at IS NULL) THEN
    RAISE EXCEPTION 'no chunk is sent while the emergency stop is on' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER chunk_guard_stop BEFORE UPDATE ON backups_cleanupchunk
  FOR EACH ROW WHEN (NEW.state = 'intended' AND OLD.state <> 'intended') EXECUTE FUNCTION backups_chunk_guard_stop();
"""

# The result of a name is final, unless the name is sent again.
EXCEPTIONS = """
CREATE FUNCTION backups_exception_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND OLD.outcome = 'alive' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'the result of a name cannot be edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER exception_guard BEFORE UPDATE OR DELETE ON backups_cleanupexception
  FOR EACH ROW EXECUTE FUNCTION backups_exception_guard();
"""

# A reappeared key is reported once, acknowledged once and never deleted.
REAPPEARANCES = """
CREATE FUNCTION backups_reappearance_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a key that reappeared is never forgotten' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NOT EXISTS (SELECT FROM backups_cleanupentry
                   WHERE stage_id = NEW.stage_id AND index = NEW.index AND name = NEW.name) THEN
      RAISE EXCEPTION 'only a name of the stage reappears' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.acknowledged_at IS NOT NULL THEN
      RAISE EXCEPTION 'what reappeared was not acknowledged before' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.acknowledged_at IS NOT NULL AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'an acknowledgement cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.stage_id, NEW.index, NEW.name, NEW.same, NEW.found_at)
     IS DISTINCT FROM (OLD.id, OLD.stage_id, OLD.index, OLD.name, OLD.same, OLD.found_at) THEN
    RAISE EXCEPTION 'what reappeared cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER reappearance_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_reappearance
  FOR EACH ROW EXECUTE FUNCTION backups_reappearance_guard();
"""

# Clean-ups are never truncated.
CLEANUP_TRUNCATION = """
CREATE FUNCTION backups_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the clean-ups are never truncated' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER chunk_guard_truncate BEFORE TRUNCATE ON backups_cleanupchunk
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate();
CREATE TRIGGER entry_guard_truncate BEFORE TRUNCATE ON backups_cleanupentry
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate();
CREATE TRIGGER exception_guard_truncate BEFORE TRUNCATE ON backups_cleanupexception
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate();
CREATE TRIGGER reappearance_guard_truncate BEFORE TRUNCATE ON backups_reappearance
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate();
CREATE TRIGGER request_guard_truncate BEFORE TRUNCATE ON backups_cleanuprequest
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate();
CREATE TRIGGER stage_guard_truncate BEFORE TRUNCATE ON backups_cleanupstage
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate();
"""

# A restore is of a verified backup into the same binding, and keeps its target and what was approved.
# An undo is of exactly the keys that its deletion deleted.
RESTORES = """
CREATE FUNCTION backups_restore_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a restore is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'preparing' THEN
      RAISE EXCEPTION 'a restore starts as preparing' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (
        SELECT FROM backups_generation g JOIN kvops_namespace source ON source.id = g.namespace_id
        JOIN kvops_namespace target ON target.id = NEW.namespace_id
        WHERE g.id = NEW.generation_id AND g.status = 'verified' AND target.binding = source.binding
          AND target.environment_id = NEW.environment_id) THEN
      RAISE EXCEPTION 'a restore is of a verified backup, into the same binding' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'preparing>prepared', 'prepared>preparing', 'prepared>submitted', 'submitted>approved', 'approved>writing',
      'preparing>writing', 'submitted>prepared', 'approved>prepared', 'writing>done',
      'preparing>ended', 'prepared>ended') THEN
    RAISE EXCEPTION 'a restore cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.generation_id, NEW.environment_id, NEW.namespace_id, NEW.stage_id, NEW.prefix, NEW.listed,
      NEW.on_conflict, NEW.prepared_by, NEW.person_id, NEW.created_at)
     IS DISTINCT FROM
     (OLD.id, OLD.generation_id, OLD.environment_id, OLD.namespace_id, OLD.stage_id, OLD.prefix, OLD.listed,
      OLD.on_conflict, OLD.prepared_by, OLD.person_id, OLD.created_at) THEN
    RAISE EXCEPTION 'what a restore is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state IN ('submitted', 'approved', 'writing') AND NEW.state <> 'prepared' AND
     (NEW.names, NEW.names_sha256, NEW.preview_run_id, NEW.compared_at, NEW.found, NEW.overwritten,
      NEW.overwritten_sha256, NEW.reason, NEW.approval_id)
     IS DISTINCT FROM
     (OLD.names, OLD.names_sha256, OLD.preview_run_id, OLD.compared_at, OLD.found, OLD.overwritten,
      OLD.overwritten_sha256, OLD.reason, OLD.approval_id) THEN
    RAISE EXCEPTION 'what a restore was approved for cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state = 'writing' AND NEW.run_id IS DISTINCT FROM OLD.run_id THEN
    RAISE EXCEPTION 'the run of a restore cannot be replaced' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state IN ('done', 'ended') AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a restore that is over cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = OLD.state THEN
    RETURN NEW;
  END IF;
  IF NEW.state IN ('prepared', 'submitted', 'approved') AND NEW.stage_id IS NOT NULL THEN
    RAISE EXCEPTION 'an undo needs no request of its own' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state = 'preparing' AND NEW.state = 'writing' THEN
    IF NOT EXISTS (
        SELECT FROM backups_cleanupstage s JOIN kvops_run r ON r.id = NEW.run_id
        WHERE s.id = NEW.stage_id AND s.state IN ('confirmed', 'accepted') AND s.approval_id = NEW.approval_id
          AND s.generation_id = NEW.generation_id AND s.namespace_id = NEW.namespace_id
          AND r.kind = 'undo' AND r.approval_id = NEW.approval_id) THEN
      RAISE EXCEPTION 'an undo is written by a run of the approval of its deletion'
        USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (
        SELECT FROM backups_restoreentry e WHERE e.restore_id = NEW.id AND NOT EXISTS (
          SELECT FROM backups_cleanupentry c WHERE c.stage_id = NEW.stage_id AND c.name = e.name AND NOT EXISTS (
            SELECT FROM backups_cleanupexception x WHERE x.stage_id = c.stage_id AND x.index = c.index))) THEN
      RAISE EXCEPTION 'an undo is of what its deletion deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state IN ('submitted', 'approved', 'writing') AND NEW.approval_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'restore' AND a.subject = 'restore:' || NEW.id
        AND a.environment_id = NEW.environment_id
        AND a.state = CASE NEW.state WHEN 'submitted' THEN 'pending' WHEN 'approved' THEN 'approved' ELSE 'used' END)
  THEN
    RAISE EXCEPTION 'a restore is not % by this request', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'writing' AND NEW.run_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_run r
      WHERE r.id = NEW.run_id AND r.kind = 'restore' AND r.approval_id = NEW.approval_id) THEN
    RAISE EXCEPTION 'a restore is written by the run of its approval' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restore_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_restore
  FOR EACH ROW EXECUTE FUNCTION backups_restore_guard();
"""

# Production's keys go into another environment only by a rule of the policy, checked name by name.
CROSSING = """
CREATE FUNCTION backups_restore_guard_crossing() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE its_binding text;
BEGIN
  SELECT target.binding INTO its_binding
    FROM backups_generation g JOIN kvops_environment source ON source.id = g.environment_id
    JOIN kvops_environment environment ON environment.id = NEW.environment_id
    JOIN kvops_namespace target ON target.id = NEW.namespace_id
    WHERE g.id = NEW.generation_id AND source.production AND NOT environment.production;
  IF its_binding IS NULL THEN
    RETURN NEW;
  END IF;
  IF NOT EXISTS (SELECT FROM kvops_family f WHERE f.binding = its_binding AND f.qa_may_take) OR EXISTS (
      SELECT FROM backups_restoreentry e WHERE e.restore_id = NEW.id AND NOT coalesce((
        SELECT f.qa_may_take FROM kvops_family f WHERE f.binding = its_binding
          AND CASE WHEN f.exact THEN e.name = f.pattern ELSE starts_with(e.name, f.pattern) END
        ORDER BY length(f.pattern) DESC, f.exact DESC LIMIT 1), false)) THEN
    RAISE EXCEPTION 'the keys of production go into another environment by a rule only'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restore_guard_crossing BEFORE UPDATE ON backups_restore
  FOR EACH ROW WHEN (NEW.state IN ('submitted', 'writing') AND OLD.state <> NEW.state)
  EXECUTE FUNCTION backups_restore_guard_crossing();
CREATE TRIGGER restore_guard_crossing_insert BEFORE INSERT ON backups_restore
  FOR EACH ROW EXECUTE FUNCTION backups_restore_guard_crossing();
"""

# The names of a restore are frozen after its preparation. Adding and removing is checked once per statement.
RESTORE_ENTRIES = """
CREATE FUNCTION backups_restored_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT bool_or(r.state <> 'preparing') FROM (
      SELECT state FROM backups_restore WHERE id IN (SELECT restore_id FROM changed) FOR SHARE) r) THEN
    RAISE EXCEPTION 'the names of a restore are frozen' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER restored_guard_delete AFTER DELETE ON backups_restoreentry REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_restored_guard();
CREATE TRIGGER restored_guard_insert AFTER INSERT ON backups_restoreentry REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_restored_guard();

CREATE FUNCTION backups_restored_guard_edit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE its_state text;
BEGIN
  IF (NEW.id, NEW.restore_id, NEW.index, NEW.name, NEW.size)
     IS DISTINCT FROM (OLD.id, OLD.restore_id, OLD.index, OLD.name, OLD.size) THEN
    RAISE EXCEPTION 'a name of a restore cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  SELECT state INTO its_state FROM backups_restore WHERE id = OLD.restore_id;
  IF NEW.found <> OLD.found AND its_state <> 'preparing' THEN
    RAISE EXCEPTION 'what a comparison found cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.outcome, NEW.compared) IS DISTINCT FROM (OLD.outcome, OLD.compared) AND its_state <> 'writing' THEN
    RAISE EXCEPTION 'the result of a restored name cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restored_guard_edit BEFORE UPDATE ON backups_restoreentry
  FOR EACH ROW EXECUTE FUNCTION backups_restored_guard_edit();
"""

# A chunk of a restore moves as drawn and keeps its range. While the emergency stop is on, none is written.
RESTORE_CHUNKS = """
CREATE FUNCTION backups_restorechunk_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a chunk of a restore is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'planned' THEN
      RAISE EXCEPTION 'a chunk of a restore starts as planned' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'planned>intended', 'planned>sent', 'planned>settled', 'intended>sent', 'intended>settled', 'sent>settled') THEN
    RAISE EXCEPTION 'a chunk of a restore cannot go from % to %', OLD.state, NEW.state
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.restore_id, NEW.number, NEW.attempt, NEW.first_index, NEW.last_index)
     IS DISTINCT FROM
     (OLD.id, OLD.restore_id, OLD.number, OLD.attempt, OLD.first_index, OLD.last_index) THEN
    RAISE EXCEPTION 'the range of a chunk of a restore cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state <> 'planned' AND (NEW.names_sha256, NEW.names, NEW.intended_at)
     IS DISTINCT FROM (OLD.names_sha256, OLD.names, OLD.intended_at) THEN
    RAISE EXCEPTION 'what a chunk was meant to write cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state = 'settled' AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a settled chunk of a restore cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'intended' AND OLD.state <> 'intended' AND EXISTS (
      SELECT FROM kvops_emergencystop s JOIN backups_restore r ON r.environment_id = s.environment_id
      WHERE r.id = NEW.restore_id AND s.released_at IS NULL) THEN
    RAISE EXCEPTION 'nothing is written while the emergency stop is on' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restorechunk_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_restorechunk
  FOR EACH ROW EXECUTE FUNCTION backups_restorechunk_guard();
"""

# Restores are never truncated.
RESTORE_TRUNCATION = """
CREATE FUNCTION backups_refuse_truncate_restores() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'restores are never truncated' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER restore_guard_truncate BEFORE TRUNCATE ON backups_restore
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_restores();
CREATE TRIGGER restorechunk_guard_truncate BEFORE TRUNCATE ON backups_restorechunk
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_restores();
CREATE TRIGGER restored_guard_truncate BEFORE TRUNCATE ON backups_restoreentry
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_restores();
"""

# A prune request moves as drawn with its approval and its run, and keeps its list of backups.
PRUNE_REQUESTS = """
CREATE FUNCTION backups_prune_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a prune request is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'collected' THEN
      RAISE EXCEPTION 'a prune request starts as collected' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'collected>submitted', 'submitted>approved', 'approved>deleting', 'deleting>done',
      'collected>ended', 'submitted>ended', 'approved>ended') THEN
    RAISE EXCEPTION 'a prune request cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.environment_id, NEW.reason, NEW.generations, NEW.objects_total, NEW.objects_sha256,
      NEW.requested_by_id, NEW.created_at)
     IS DISTINCT FROM
     (OLD.id, OLD.environment_id, OLD.reason, OLD.generations, OLD.objects_total, OLD.objects_sha256,
      OLD.requested_by_id, OLD.created_at)
     OR (OLD.approval_id IS NOT NULL AND NEW.approval_id IS DISTINCT FROM OLD.approval_id)
     OR (OLD.run_id IS NOT NULL AND NEW.run_id IS DISTINCT FROM OLD.run_id) THEN
    RAISE EXCEPTION 'what a prune request is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state IN ('done', 'ended') AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a prune request that is over cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state <> OLD.state AND NEW.state IN ('submitted', 'approved', 'deleting')
     AND NEW.approval_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'delete_generations' AND a.subject = 'prune:' || NEW.id
        AND a.environment_id = NEW.environment_id
        AND a.state = CASE NEW.state WHEN 'submitted' THEN 'pending' WHEN 'approved' THEN 'approved' ELSE 'used' END)
  THEN
    RAISE EXCEPTION 'a prune request is not % by this request', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'deleting' AND OLD.state <> 'deleting' AND NEW.run_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_run r
      WHERE r.id = NEW.run_id AND r.kind = 'prune' AND r.approval_id = NEW.approval_id) THEN
    RAISE EXCEPTION 'a prune request is done by the run of its approval' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER prune_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_prunerequest
  FOR EACH ROW EXECUTE FUNCTION backups_prune_guard();
CREATE TRIGGER prune_guard_truncate BEFORE TRUNCATE ON backups_prunerequest
  FOR EACH STATEMENT EXECUTE FUNCTION backups_prune_guard();

CREATE FUNCTION backups_pruned_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE its_state text;
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a backup of a prune request is never deleted from it' USING ERRCODE = 'restrict_violation';
  END IF;
  SELECT state INTO its_state FROM backups_prunerequest WHERE id = NEW.prune_id;
  IF TG_OP = 'INSERT' THEN
    IF its_state <> 'collected' OR NEW.outcome <> 'planned' THEN
      RAISE EXCEPTION 'the backups of a prune request are collected once' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.prune_id, NEW.index, NEW.generation_id, NEW.due_at, NEW.newer, NEW.objects_total,
      NEW.objects_sha256)
     IS DISTINCT FROM
     (OLD.id, OLD.prune_id, OLD.index, OLD.generation_id, OLD.due_at, OLD.newer, OLD.objects_total,
      OLD.objects_sha256) THEN
    RAISE EXCEPTION 'a backup of a prune request cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF its_state <> 'deleting' OR OLD.outcome <> 'planned' THEN
    RAISE EXCEPTION 'the result of a backup cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.outcome = 'deleted' AND NOT EXISTS (
      SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.status = 'deleted') THEN
    RAISE EXCEPTION 'a backup that is there is not said to be deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER pruned_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_pruneentry
  FOR EACH ROW EXECUTE FUNCTION backups_pruned_guard();
CREATE TRIGGER pruned_guard_truncate BEFORE TRUNCATE ON backups_pruneentry
  FOR EACH STATEMENT EXECUTE FUNCTION backups_pruned_guard();
"""

# Nothing new relies on a backup that is being deleted. The lock lets the two wait for each other.
# The name begins with a, so that this fires before the other guards of those tables.
RELIANCE = """
CREATE FUNCTION backups_needed_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT g.status FROM backups_generation g WHERE g.id = NEW.generation_id FOR SHARE)
     IN ('deleting', 'deleted') THEN
    RAISE EXCEPTION 'nothing relies on a backup that is being deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER a_needed_guard BEFORE INSERT OR UPDATE OF generation_id ON backups_cleanupstage
  FOR EACH ROW WHEN (NEW.generation_id IS NOT NULL) EXECUTE FUNCTION backups_needed_guard();
CREATE TRIGGER a_needed_guard BEFORE INSERT OR UPDATE OF generation_id ON backups_check
  FOR EACH ROW WHEN (NEW.generation_id IS NOT NULL) EXECUTE FUNCTION backups_needed_guard();
CREATE TRIGGER a_needed_guard BEFORE INSERT OR UPDATE OF generation_id ON backups_restore
  FOR EACH ROW WHEN (NEW.generation_id IS NOT NULL) EXECUTE FUNCTION backups_needed_guard();
CREATE TRIGGER a_needed_guard BEFORE INSERT OR UPDATE OF generation_id ON backups_pin
  FOR EACH ROW WHEN (NEW.generation_id IS NOT NULL) EXECUTE FUNCTION backups_needed_guard();
"""

# An investigation has a backup of its own, which is not pinned. It is over when that backup is deleted.
INVESTIGATIONS = """
CREATE FUNCTION backups_investigation_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'an investigation is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.closed_at IS NOT NULL OR NEW.over_at IS NOT NULL OR NEW.run_id IS NOT NULL THEN
      RAISE EXCEPTION 'an investigation starts open' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.purpose = 'investigation'
                     AND g.environment_id = NEW.environment_id) THEN
      RAISE EXCEPTION 'an investigation has a backup of its own' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.environment_id, NEW.title, NEW.reason, NEW.generation_id, NEW.asked_by_id, NEW.created_at,
      NEW.ends_at)
     IS DISTINCT FROM
     (OLD.id, OLD.environment_id, OLD.title, OLD.reason, OLD.generation_id, OLD.asked_by_id, OLD.created_at,
      OLD.ends_at)
     OR (OLD.closed_at IS NOT NULL AND (NEW.closed_at, NEW.closed_by_id, NEW.closed_because)
           IS DISTINCT FROM (OLD.closed_at, OLD.closed_by_id, OLD.closed_because))
     OR (OLD.run_id IS NOT NULL AND NEW.run_id IS DISTINCT FROM OLD.run_id
         AND (NEW.run_id IS NULL OR NOT EXISTS (
           SELECT FROM kvops_run r WHERE r.id = OLD.run_id AND r.state IN ('failed', 'stopped'))))
     OR OLD.over_at IS NOT NULL THEN
    RAISE EXCEPTION 'what an investigation is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.over_at IS NOT NULL AND EXISTS (
      SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.status NOT IN ('deleted', 'writing')) THEN
    RAISE EXCEPTION 'an investigation whose backup is there is not over' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER investigation_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_investigation
  FOR EACH ROW EXECUTE FUNCTION backups_investigation_guard();
CREATE TRIGGER investigation_guard_truncate BEFORE TRUNCATE ON backups_investigation
  FOR EACH STATEMENT EXECUTE FUNCTION backups_investigation_guard();

CREATE FUNCTION backups_pin_guard_investigations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.purpose = 'investigation') THEN
    RAISE EXCEPTION 'the backup of an investigation is not pinned' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER pin_guard_investigations BEFORE INSERT ON backups_pin
  FOR EACH ROW EXECUTE FUNCTION backups_pin_guard_investigations();
"""

# The result of a restore drill never changes.
DRILLS = """
CREATE FUNCTION backups_drill_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a drill is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.finished_at IS NOT NULL AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a drill that is over cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER drill_guard BEFORE UPDATE OR DELETE ON backups_drill
  FOR EACH ROW EXECUTE FUNCTION backups_drill_guard();
CREATE TRIGGER drill_guard_truncate BEFORE TRUNCATE ON backups_drill
  FOR EACH STATEMENT EXECUTE FUNCTION backups_drill_guard();
CREATE TRIGGER drilled_guard BEFORE UPDATE OR DELETE ON backups_drilledbackup
  FOR EACH ROW EXECUTE FUNCTION backups_drill_guard();
CREATE TRIGGER drilled_guard_truncate BEFORE TRUNCATE ON backups_drilledbackup
  FOR EACH STATEMENT EXECUTE FUNCTION backups_drill_guard();
"""

# The next check and the next listing fill the first two tables anew, so they need not survive a crash of Postgres.
# Each name of a backup is written twice. With room in its page the second write is a HOT update: a quarter of the cost.
# ANALYZE is the owner's alone: the application calls the function, which is no trigger's.
STORAGE = """
ALTER TABLE backups_checkrow SET UNLOGGED;
ALTER TABLE backups_stagedobject SET UNLOGGED;
ALTER TABLE backups_generationentry SET (fillfactor = 40);

CREATE FUNCTION backups_analyze_stage() RETURNS void LANGUAGE sql SECURITY DEFINER
  SET search_path = public, pg_temp AS 'ANALYZE backups_stagedobject';
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0001_initial"), ("kvops", "0002_guards")]

    operations = [
        migrations.RunSQL(BACKUPS, "DROP FUNCTION backups_generation_guard CASCADE;"),
        migrations.RunSQL(BACKUP_SOURCES, "DROP FUNCTION backups_source_guard CASCADE;"),
        migrations.RunSQL(BACKUP_ENCRYPTION, "DROP FUNCTION backups_encryption_guard CASCADE;"),
        migrations.RunSQL(BACKUP_CONTENTS, "DROP FUNCTION backups_contents_guard CASCADE;"),
        migrations.RunSQL(CHECKS, "DROP FUNCTION backups_check_guard CASCADE;"),
        migrations.RunSQL(BACKUP_TRUNCATION, "DROP FUNCTION backups_refuse_truncate_backups CASCADE;"),
        migrations.RunSQL(PINS, "DROP FUNCTION backups_pin_guard CASCADE;"),
        migrations.RunSQL(SHARES, "DROP FUNCTION backups_share_guard CASCADE;"),
        migrations.RunSQL(REQUESTS, "DROP FUNCTION backups_request_guard, backups_exact_guard CASCADE;"),
        migrations.RunSQL(STAGES, "DROP FUNCTION backups_stage_guard CASCADE;"),
        migrations.RunSQL(STAGE_EVIDENCE, "DROP FUNCTION backups_stage_guard_moves CASCADE;"),
        migrations.RunSQL(STAGE_SHARES, "DROP FUNCTION backups_stage_guard_shared CASCADE;"),
        migrations.RunSQL(ENTRIES, "DROP FUNCTION backups_entry_guard CASCADE;"),
        migrations.RunSQL(CHUNKS, "DROP FUNCTION backups_chunk_guard, backups_chunk_guard_moves CASCADE;"),
        migrations.RunSQL(CHUNKS_STOPPED, "DROP FUNCTION backups_chunk_guard_stop CASCADE;"),
        migrations.RunSQL(EXCEPTIONS, "DROP FUNCTION backups_exception_guard CASCADE;"),
        migrations.RunSQL(REAPPEARANCES, "DROP FUNCTION backups_reappearance_guard CASCADE;"),
        migrations.RunSQL(CLEANUP_TRUNCATION, "DROP FUNCTION backups_refuse_truncate CASCADE;"),
        migrations.RunSQL(RESTORES, "DROP FUNCTION backups_restore_guard CASCADE;"),
        migrations.RunSQL(CROSSING, "DROP FUNCTION backups_restore_guard_crossing CASCADE;"),
        migrations.RunSQL(
            RESTORE_ENTRIES, "DROP FUNCTION backups_restored_guard, backups_restored_guard_edit CASCADE;"
        ),
        migrations.RunSQL(RESTORE_CHUNKS, "DROP FUNCTION backups_restorechunk_guard CASCADE;"),
        migrations.RunSQL(RESTORE_TRUNCATION, "DROP FUNCTION backups_refuse_truncate_restores CASCADE;"),
        migrations.RunSQL(PRUNE_REQUESTS, "DROP FUNCTION backups_prune_guard, backups_pruned_guard CASCADE;"),
        migrations.RunSQL(RELIANCE, "DROP FUNCTION backups_needed_guard CASCADE;"),
        migrations.RunSQL(
            INVESTIGATIONS, "DROP FUNCTION backups_investigation_guard, backups_pin_guard_investigations CASCADE;"
        ),
        migrations.RunSQL(DRILLS, "DROP FUNCTION backups_drill_guard CASCADE;"),
        migrations.RunSQL(
            STORAGE,
            """
            DROP FUNCTION backups_analyze_stage CASCADE;
            ALTER TABLE backups_generationentry RESET (fillfactor);
            ALTER TABLE backups_stagedobject SET LOGGED;
            ALTER TABLE backups_checkrow SET LOGGED;
            """,
        ),
    ]
