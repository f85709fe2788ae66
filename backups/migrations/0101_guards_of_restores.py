"""What a restore is, said by the database: a verified copy, names that stay as they were approved, drawn moves.

An undo is of exactly what its deletion deleted. Production's keys go into no other environment.
"""

from django.db import migrations

FROZEN = (
    "id, generation_id, environment_id, namespace_id, stage_id, prefix, listed, on_conflict, prepared_by, person_id,"
    " created_at"
)
APPROVED = (
    "names, names_sha256, preview_run_id, compared_at, found, overwritten, overwritten_sha256, reason, approval_id"
)


def _changed(columns: str) -> str:
    old, new = (", ".join(f"{row}.{name}" for name in columns.split(", ")) for row in ("OLD", "NEW"))
    return f"({new}) IS DISTINCT FROM ({old})"


RESTORES = f"""
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
      RAISE EXCEPTION 'a restore is of a verified copy, into the same binding' USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (
        SELECT FROM backups_generation g JOIN kvops_environment source ON source.id = g.environment_id
        JOIN kvops_environment target ON target.id = NEW.environment_id
        WHERE g.id = NEW.generation_id AND source.production AND NOT target.production) THEN
      RAISE EXCEPTION 'the keys of production go into no other environment' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'preparing>prepared', 'prepared>preparing', 'prepared>submitted', 'submitted>approved', 'approved>writing',
      'preparing>writing', 'submitted>prepared', 'approved>prepared', 'writing>done',
      'preparing>ended', 'prepared>ended') THEN
    RAISE EXCEPTION 'a restore cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'restrict_violation';
  END IF;
  IF {_changed(FROZEN)} THEN
    RAISE EXCEPTION 'what a restore is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.state IN ('submitted', 'approved', 'writing') AND NEW.state <> 'prepared' AND {_changed(APPROVED)} THEN
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

# Added and taken away once per statement: names come a million at a time.
ENTRIES = """
CREATE FUNCTION backups_restored_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT bool_or(r.state <> 'preparing') FROM (
      SELECT state FROM backups_restore WHERE id IN (SELECT restore_id FROM changed) FOR SHARE) r) THEN
    RAISE EXCEPTION 'the names of a restore are frozen' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER restored_guard_insert AFTER INSERT ON backups_restoreentry REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION backups_restored_guard();
CREATE TRIGGER restored_guard_delete AFTER DELETE ON backups_restoreentry REFERENCING OLD TABLE AS changed
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
    RAISE EXCEPTION 'what became of a restored name cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restored_guard_edit BEFORE UPDATE ON backups_restoreentry
  FOR EACH ROW EXECUTE FUNCTION backups_restored_guard_edit();
"""

CHUNKS = """
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

TABLES = {
    "restore": "backups_restore",
    "restored": "backups_restoreentry",
    "restorechunk": "backups_restorechunk",
}
TRUNCATION = """
CREATE FUNCTION backups_refuse_truncate_restores() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'restores are never truncated' USING ERRCODE = 'restrict_violation';
END $$;
""" + "".join(
    f"CREATE TRIGGER {name}_guard_truncate BEFORE TRUNCATE ON {table}"
    f" FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_restores();\n"
    for name, table in TABLES.items()
)


class Migration(migrations.Migration):
    dependencies = [("backups", "0100_restores"), ("kvops", "0101_guards_of_restores")]

    operations = [
        migrations.RunSQL(
            RESTORES, "DROP TRIGGER restore_guard ON backups_restore; DROP FUNCTION backups_restore_guard;"
        ),
        migrations.RunSQL(
            ENTRIES,
            """
            DROP TRIGGER restored_guard_edit ON backups_restoreentry;
            DROP FUNCTION backups_restored_guard_edit;
            DROP TRIGGER restored_guard_delete ON backups_restoreentry;
            DROP TRIGGER restored_guard_insert ON backups_restoreentry;
            DROP FUNCTION backups_restored_guard;
            """,
        ),
        migrations.RunSQL(
            CHUNKS,
            "DROP TRIGGER restorechunk_guard ON backups_restorechunk; DROP FUNCTION backups_restorechunk_guard;",
        ),
        migrations.RunSQL(
            TRUNCATION,
            "".join(f"DROP TRIGGER {name}_guard_truncate ON {table};" for name, table in TABLES.items())
            + "DROP FUNCTION backups_refuse_truncate_restores;",
        ),
    ]
