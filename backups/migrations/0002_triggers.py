"""The rules of the database for backups and everything that deletes, writes or judges keys by them.

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
      'damaged>verified', 'partial>deleting', 'complete>deleting', 'verified>deleting', 'damaged>deleting',
      'deleting>deleted') THEN
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

# A finished backup keeps its place, and whether it is of one exact key.
# Only a verification at work finds a damaged backup good again.
BACKUP_PLACES = """
CREATE FUNCTION backups_place_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.status <> 'writing' AND (NEW.endpoint, NEW.account_id, NEW.exact)
     IS DISTINCT FROM (OLD.endpoint, OLD.account_id, OLD.exact) THEN
    RAISE EXCEPTION 'what a finished backup is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.status = 'damaged' AND NEW.status = 'verified' AND NOT EXISTS (
      SELECT FROM kvops_run r WHERE r.id = NEW.verify_run_id AND r.kind = 'verify' AND r.state = 'running') THEN
    RAISE EXCEPTION 'a damaged backup is verified by the run of a verification' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER place_guard BEFORE UPDATE ON backups_generation
  FOR EACH ROW EXECUTE FUNCTION backups_place_guard();
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

# The first backup after a rotation of the key is digested with the older key too. A finished backup keeps both.
BACKUP_OLDER_KEYS = """
CREATE FUNCTION backups_older_key_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'what a finished backup is of cannot be edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER older_key_guard BEFORE UPDATE ON backups_generation
  FOR EACH ROW WHEN (OLD.status <> 'writing' AND NEW.older_digest_key IS DISTINCT FROM OLD.older_digest_key)
  EXECUTE FUNCTION backups_older_key_guard();
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

# The row of a document in 1Password is the proof that a backup was kept. It stays one of this backup and this vault.
DOCUMENTS = """
CREATE FUNCTION backups_document_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'documents in 1Password are never forgotten' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.generation_id, NEW.vault, NEW.asked_at) IS DISTINCT FROM (OLD.generation_id, OLD.vault, OLD.asked_at) THEN
    RAISE EXCEPTION 'what a document is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'waiting' AND OLD.state <> 'waiting' THEN
    RAISE EXCEPTION 'a document that was kept does not wait again' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER document_guard BEFORE UPDATE OR DELETE ON backups_vaultdocument
  FOR EACH ROW EXECUTE FUNCTION backups_document_guard();
CREATE TRIGGER document_guard_truncate BEFORE TRUNCATE ON backups_vaultdocument
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_backups();
"""

# A case of differences keeps what it is about, and a closed case stays as it was closed.
CASES = """
CREATE FUNCTION backups_case_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a case of differences is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.closed_at IS NOT NULL THEN
    RAISE EXCEPTION 'a closed case of differences cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.environment_id, NEW.dataset_id, NEW.source, NEW.failed_id, NEW.opened_by_id, NEW.opened_at)
     IS DISTINCT FROM
     (OLD.id, OLD.environment_id, OLD.dataset_id, OLD.source, OLD.failed_id, OLD.opened_by_id, OLD.opened_at) THEN
    RAISE EXCEPTION 'what a case of differences is about cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER case_guard BEFORE UPDATE OR DELETE ON backups_differencecase
  FOR EACH ROW EXECUTE FUNCTION backups_case_guard();
CREATE TRIGGER case_guard_truncate BEFORE TRUNCATE ON backups_differencecase
  FOR EACH STATEMENT EXECUTE FUNCTION backups_case_guard();
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

CREATE FUNCTION backups_only_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.only <> OLD.only THEN
    RAISE EXCEPTION 'what a clean-up is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER only_guard BEFORE UPDATE ON backups_cleanuprequest
  FOR EACH ROW EXECUTE FUNCTION backups_only_guard();
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
      'verified>submitted', 'verified>deleting', 'checked>submitted', 'submitted>approved', 'approved>deleting',
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
  IF NOT NEW.scheduled AND NEW.state IN ('submitted', 'approved', 'deleting') AND NEW.approval_id IS NOT NULL
     AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'delete_keys' AND a.subject = 'stage:' || NEW.id
        AND a.environment_id = NEW.environment_id
        AND a.state = CASE NEW.state WHEN 'submitted' THEN 'pending' WHEN 'approved' THEN 'approved' ELSE 'used' END)
  THEN
    RAISE EXCEPTION 'a stage is not % by this request', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NOT NEW.scheduled AND NEW.state = 'deleting' AND NEW.run_id IS NOT NULL AND NOT EXISTS (
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

# A stage is submitted with a recent search of its environment's code, and keeps it.
STAGE_SEARCHES = """
CREATE FUNCTION backups_stage_guard_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state IN ('submitted', 'approved', 'deleting', 'deleted', 'confirmed') AND NEW.state <> 'frozen'
     AND NEW.search_id IS DISTINCT FROM OLD.search_id THEN
    RAISE EXCEPTION 'the search that a stage rests on cannot be replaced' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'submitted' AND OLD.state <> 'submitted' AND NOT EXISTS (
      SELECT FROM kvops_referencesearch WHERE id = NEW.search_id AND environment_id = NEW.environment_id
        AND searched_at >= now() - interval '7 days') THEN
    RAISE EXCEPTION 'a stage is submitted with a recent search of its code' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stage_guard_search BEFORE UPDATE ON backups_cleanupstage
  FOR EACH ROW EXECUTE FUNCTION backups_stage_guard_search();
"""

# Once a stage is confirmed, the figures of its proof stay as they are.
STAGE_PROOFS = """
CREATE FUNCTION backups_stage_guard_others() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.others, NEW.remaining) IS DISTINCT FROM (OLD.others, OLD.remaining) THEN
    RAISE EXCEPTION 'what a stage proved cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stage_guard_others BEFORE UPDATE ON backups_cleanupstage
  FOR EACH ROW WHEN (OLD.state = 'confirmed') EXECUTE FUNCTION backups_stage_guard_others();
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

# A stage of a scheduled clearing has its own way and its own proof. It is never submitted, approved or accepted.
CLEARING_STAGES = """
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
CLEARING_CHUNKS = """
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

# The rule of a request of a scheduled clearing is that of its binding and family, and never changes.
CLEARING_REQUESTS = """
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

# A rule of a scheduled clearing is of a cache and keeps its target. What happened is never deleted.
# An acceptance is of what was proven gone.
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

# A restore is of a verified backup into the same binding, and keeps its target and what was approved.
# An undo is of exactly the keys that its deletion deleted.
# The backup of a bulk change is made after the row, from the names that were chosen.
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
        WHERE g.id = NEW.generation_id
          AND (g.status = 'verified' AND NEW.operation = '' OR g.status = 'writing' AND NEW.operation <> '')
          AND target.binding = source.binding AND target.environment_id = NEW.environment_id) THEN
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
      WHERE a.id = NEW.approval_id AND a.kind = CASE NEW.operation WHEN '' THEN 'restore' ELSE 'bulk_change' END
        AND a.subject = CASE NEW.operation WHEN '' THEN 'restore:' ELSE 'bulkchange:' END || NEW.id
        AND a.environment_id = NEW.environment_id
        AND a.state = CASE NEW.state WHEN 'submitted' THEN 'pending' WHEN 'approved' THEN 'approved' ELSE 'used' END)
  THEN
    RAISE EXCEPTION 'a restore is not % by this request', NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'writing' AND NEW.run_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_run r
      WHERE r.id = NEW.run_id AND r.kind = CASE NEW.operation WHEN '' THEN 'restore' ELSE 'bulk_change' END
        AND r.approval_id = NEW.approval_id) THEN
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

# A bulk change is of a cache. In production it repeats an accepted one of an earlier environment.
BULK_RESTORES = """
CREATE FUNCTION backups_restore_guard_bulk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.operation <> OLD.operation THEN
    RAISE EXCEPTION 'what a restore writes cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' OR NEW.operation = '' OR NEW.state = OLD.state THEN
    RETURN NEW;
  END IF;
  IF NEW.state IN ('prepared', 'submitted', 'writing') AND NOT EXISTS (
      SELECT FROM backups_generation g WHERE g.id = NEW.generation_id AND g.status = 'verified'
        AND g.namespace_id = NEW.namespace_id) THEN
    RAISE EXCEPTION 'a bulk change needs the verified backup of its keys' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state IN ('submitted', 'writing') AND NOT EXISTS (
      SELECT FROM backups_bulkchange b JOIN kvops_family f ON f.id = b.family_id
      JOIN kvops_namespace n ON n.id = NEW.namespace_id
      WHERE b.restore_id = NEW.id AND b.operation = NEW.operation AND f.category = 'cache'
        AND f.binding = n.binding) THEN
    RAISE EXCEPTION 'only keys of a cache are changed many at once' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state IN ('submitted', 'writing')
     AND (SELECT production FROM kvops_environment WHERE id = NEW.environment_id) AND NOT EXISTS (
      SELECT FROM backups_bulkchange b
      JOIN backups_bulkchange q ON q.restore_id = b.repeats_id
      JOIN backups_restore r ON r.id = q.restore_id
      JOIN kvops_environment earlier ON earlier.id = r.environment_id
      JOIN kvops_environment here ON here.id = NEW.environment_id
      WHERE b.restore_id = NEW.id AND q.accepted_at IS NOT NULL AND q.operation = b.operation
        AND q.family_id = b.family_id AND q.member = b.member AND earlier."order" < here."order"
        AND (b.lifetime IS NULL OR q.lifetime IS NULL OR q.lifetime <= b.lifetime)
        AND (NEW.state = 'writing' OR q.accepted_at >= now() - interval '7 days')
        AND NOT EXISTS (
          SELECT FROM backups_restore u WHERE u.generation_id = r.generation_id AND u.namespace_id = r.namespace_id
            AND u.operation = '' AND (u.state = 'writing' OR u.state = 'done' AND u.written > 0))) THEN
    RAISE EXCEPTION 'a bulk change is accepted in QA before production' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restore_guard_bulk BEFORE INSERT OR UPDATE ON backups_restore
  FOR EACH ROW EXECUTE FUNCTION backups_restore_guard_bulk();
"""

# What a bulk change writes is fixed with its row. The time of an expiration is fixed once, by the start.
BULK_CHANGES = """
CREATE FUNCTION backups_bulkchange_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE its_state text; its_operation text;
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a bulk change is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  SELECT state, operation INTO its_state, its_operation FROM backups_restore WHERE id = NEW.restore_id;
  IF TG_OP = 'INSERT' THEN
    IF its_state <> 'preparing' OR its_operation <> NEW.operation OR NEW.expiration IS NOT NULL
       OR NEW.repeats_id IS NOT NULL OR NEW.accepted_at IS NOT NULL THEN
      RAISE EXCEPTION 'a bulk change starts with nothing written' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.restore_id, NEW.operation, NEW.family_id, NEW.scope, NEW.chosen_names, NEW.chosen_sha256, NEW.lifetime,
      NEW.until, NEW.member, NEW.value)
     IS DISTINCT FROM
     (OLD.restore_id, OLD.operation, OLD.family_id, OLD.scope, OLD.chosen_names, OLD.chosen_sha256, OLD.lifetime,
      OLD.until, OLD.member, OLD.value) THEN
    RAISE EXCEPTION 'what a bulk change writes cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.repeats_id IS DISTINCT FROM OLD.repeats_id AND its_state <> 'prepared' THEN
    RAISE EXCEPTION 'what a bulk change repeats cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.expiration IS DISTINCT FROM OLD.expiration AND (OLD.expiration IS NOT NULL OR its_state <> 'writing') THEN
    RAISE EXCEPTION 'the expiration is fixed once, by the start' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.accepted_at, NEW.accepted_by_id, NEW.accepted_note)
     IS DISTINCT FROM (OLD.accepted_at, OLD.accepted_by_id, OLD.accepted_note)
     AND (OLD.accepted_at IS NOT NULL OR its_state <> 'done') THEN
    RAISE EXCEPTION 'a bulk change is accepted once, when it is done' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER bulkchange_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_bulkchange
  FOR EACH ROW EXECUTE FUNCTION backups_bulkchange_guard();
CREATE TRIGGER bulkchange_guard_truncate BEFORE TRUNCATE ON backups_bulkchange
  FOR EACH STATEMENT EXECUTE FUNCTION backups_bulkchange_guard();

CREATE FUNCTION backups_restorechunk_guard_bulk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
      SELECT FROM backups_restore r LEFT JOIN backups_bulkchange b ON b.restore_id = r.id
      WHERE r.id = NEW.restore_id AND r.operation = 'expiration' AND b.expiration IS NULL) THEN
    RAISE EXCEPTION 'no key is written before its expiration is fixed' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restorechunk_guard_bulk BEFORE UPDATE ON backups_restorechunk
  FOR EACH ROW WHEN (NEW.state = 'intended' AND OLD.state <> 'intended')
  EXECUTE FUNCTION backups_restorechunk_guard_bulk();
"""

# A change of a key moves as drawn, with a request and a run of its own. Its key and its proposal are never edited.
# While the emergency stop is on, no write is intended. A backup that an open change needs is not deleted.
KEY_CHANGES = """
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

# What a search for changes outside KVOps found is never deleted or edited. A person explains it once.
OUTSIDE_CHANGES = """
CREATE FUNCTION backups_outsidesearch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a search for changes outside KVOps is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.generation_id, NEW.earlier_id, NEW.namespace_id, NEW.outcome, NEW.reason, NEW.at, NEW.changed,
      NEW.new, NEW.gone, NEW.explained, NEW.listed)
     IS DISTINCT FROM (OLD.id, OLD.generation_id, OLD.earlier_id, OLD.namespace_id, OLD.outcome, OLD.reason, OLD.at,
      OLD.changed, OLD.new, OLD.gone, OLD.explained, OLD.listed)
     OR OLD.acknowledged_at IS NOT NULL THEN
    RAISE EXCEPTION 'the result of a search for changes outside KVOps cannot be edited'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER outsidesearch_guard BEFORE UPDATE OR DELETE ON backups_outsidesearch
  FOR EACH ROW EXECUTE FUNCTION backups_outsidesearch_guard();
CREATE TRIGGER outsidesearch_guard_truncate BEFORE TRUNCATE ON backups_outsidesearch
  FOR EACH STATEMENT EXECUTE FUNCTION backups_outsidesearch_guard();

CREATE FUNCTION backups_outsidechange_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a key that changed outside KVOps is never deleted or edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER outsidechange_guard BEFORE UPDATE OR DELETE ON backups_outsidechange
  FOR EACH ROW EXECUTE FUNCTION backups_outsidechange_guard();
CREATE TRIGGER outsidechange_guard_truncate BEFORE TRUNCATE ON backups_outsidechange
  FOR EACH STATEMENT EXECUTE FUNCTION backups_outsidechange_guard();
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

# The names of clean-ups are found by a part. The extension may be in any schema.
PARTS_OF_NAMES = """
DO $$ DECLARE home text; BEGIN
  SELECT n.nspname INTO STRICT home
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
  EXECUTE format('CREATE INDEX cleanup_by_part ON backups_cleanupentry USING gin (name %I.gin_trgm_ops)', home);
END $$;
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
    dependencies = [("backups", "0001_tables"), ("kvops", "0002_triggers")]

    operations = [
        migrations.RunSQL(BACKUPS, "DROP FUNCTION backups_generation_guard CASCADE;"),
        migrations.RunSQL(BACKUP_SOURCES, "DROP FUNCTION backups_source_guard CASCADE;"),
        migrations.RunSQL(BACKUP_PLACES, "DROP FUNCTION backups_place_guard CASCADE;"),
        migrations.RunSQL(BACKUP_ENCRYPTION, "DROP FUNCTION backups_encryption_guard CASCADE;"),
        migrations.RunSQL(BACKUP_OLDER_KEYS, "DROP FUNCTION backups_older_key_guard CASCADE;"),
        migrations.RunSQL(BACKUP_CONTENTS, "DROP FUNCTION backups_contents_guard CASCADE;"),
        migrations.RunSQL(CHECKS, "DROP FUNCTION backups_check_guard CASCADE;"),
        migrations.RunSQL(BACKUP_TRUNCATION, "DROP FUNCTION backups_refuse_truncate_backups CASCADE;"),
        migrations.RunSQL(DOCUMENTS, "DROP FUNCTION backups_document_guard CASCADE;"),
        migrations.RunSQL(CASES, "DROP FUNCTION backups_case_guard CASCADE;"),
        migrations.RunSQL(PINS, "DROP FUNCTION backups_pin_guard CASCADE;"),
        migrations.RunSQL(SHARES, "DROP FUNCTION backups_share_guard CASCADE;"),
        migrations.RunSQL(
            REQUESTS, "DROP FUNCTION backups_request_guard, backups_exact_guard, backups_only_guard CASCADE;"
        ),
        migrations.RunSQL(STAGES, "DROP FUNCTION backups_stage_guard CASCADE;"),
        migrations.RunSQL(STAGE_EVIDENCE, "DROP FUNCTION backups_stage_guard_moves CASCADE;"),
        migrations.RunSQL(STAGE_SHARES, "DROP FUNCTION backups_stage_guard_shared CASCADE;"),
        migrations.RunSQL(STAGE_SEARCHES, "DROP FUNCTION backups_stage_guard_search CASCADE;"),
        migrations.RunSQL(STAGE_PROOFS, "DROP FUNCTION backups_stage_guard_others CASCADE;"),
        migrations.RunSQL(ENTRIES, "DROP FUNCTION backups_entry_guard CASCADE;"),
        migrations.RunSQL(CHUNKS, "DROP FUNCTION backups_chunk_guard, backups_chunk_guard_moves CASCADE;"),
        migrations.RunSQL(CHUNKS_STOPPED, "DROP FUNCTION backups_chunk_guard_stop CASCADE;"),
        migrations.RunSQL(EXCEPTIONS, "DROP FUNCTION backups_exception_guard CASCADE;"),
        migrations.RunSQL(REAPPEARANCES, "DROP FUNCTION backups_reappearance_guard CASCADE;"),
        migrations.RunSQL(CLEANUP_TRUNCATION, "DROP FUNCTION backups_refuse_truncate CASCADE;"),
        migrations.RunSQL(CLEARING_STAGES, "DROP FUNCTION backups_stage_guard_scheduled CASCADE;"),
        migrations.RunSQL(CLEARING_CHUNKS, "DROP FUNCTION backups_chunk_guard_standing CASCADE;"),
        migrations.RunSQL(CLEARING_REQUESTS, "DROP FUNCTION backups_request_guard_clearing CASCADE;"),
        migrations.RunSQL(CLEARINGS, "DROP FUNCTION backups_clearing_guard, backups_clearing_round_guard CASCADE;"),
        migrations.RunSQL(RESTORES, "DROP FUNCTION backups_restore_guard CASCADE;"),
        migrations.RunSQL(CROSSING, "DROP FUNCTION backups_restore_guard_crossing CASCADE;"),
        migrations.RunSQL(
            RESTORE_ENTRIES, "DROP FUNCTION backups_restored_guard, backups_restored_guard_edit CASCADE;"
        ),
        migrations.RunSQL(RESTORE_CHUNKS, "DROP FUNCTION backups_restorechunk_guard CASCADE;"),
        migrations.RunSQL(RESTORE_TRUNCATION, "DROP FUNCTION backups_refuse_truncate_restores CASCADE;"),
        migrations.RunSQL(BULK_RESTORES, "DROP FUNCTION backups_restore_guard_bulk CASCADE;"),
        migrations.RunSQL(
            BULK_CHANGES, "DROP FUNCTION backups_bulkchange_guard, backups_restorechunk_guard_bulk CASCADE;"
        ),
        migrations.RunSQL(
            KEY_CHANGES, "DROP FUNCTION backups_keychange_guard, backups_generation_guard_changes CASCADE;"
        ),
        migrations.RunSQL(
            OUTSIDE_CHANGES, "DROP FUNCTION backups_outsidesearch_guard, backups_outsidechange_guard CASCADE;"
        ),
        migrations.RunSQL(PRUNE_REQUESTS, "DROP FUNCTION backups_prune_guard, backups_pruned_guard CASCADE;"),
        migrations.RunSQL(RELIANCE, "DROP FUNCTION backups_needed_guard CASCADE;"),
        migrations.RunSQL(
            INVESTIGATIONS, "DROP FUNCTION backups_investigation_guard, backups_pin_guard_investigations CASCADE;"
        ),
        migrations.RunSQL(DRILLS, "DROP FUNCTION backups_drill_guard CASCADE;"),
        migrations.RunSQL(PARTS_OF_NAMES, "DROP INDEX cleanup_by_part;"),
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
