"""What must never be, said by the database: frozen names stay, stages and chunks only move as drawn."""

from django.db import migrations

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

ENTRIES = """
CREATE FUNCTION backups_entry_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE of_stage bigint; its_state text;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    RAISE EXCEPTION 'a frozen name cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN of_stage := OLD.stage_id; ELSE of_stage := NEW.stage_id; END IF;
  SELECT state INTO its_state FROM backups_cleanupstage WHERE id = of_stage;
  IF its_state NOT IN ('waiting', 'frozen') THEN
    RAISE EXCEPTION 'the names of a stage are frozen' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER entry_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_cleanupentry
  FOR EACH ROW EXECUTE FUNCTION backups_entry_guard();
"""

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
"""

# Rebuilt by the next check, so it need not survive a crash of Postgres.
ROWS = "ALTER TABLE backups_checkrow SET UNLOGGED;"


def _drop(table: str, name: str) -> str:
    return f"DROP TRIGGER {name}_guard ON {table}; DROP FUNCTION backups_{name}_guard;"


class Migration(migrations.Migration):
    dependencies = [("backups", "0001_initial"), ("kvops", "0002_guards")]

    operations = [
        migrations.RunSQL(STAGES, _drop("backups_cleanupstage", "stage")),
        migrations.RunSQL(ENTRIES, _drop("backups_cleanupentry", "entry")),
        migrations.RunSQL(CHUNKS, _drop("backups_cleanupchunk", "chunk")),
        migrations.RunSQL(ROWS, "ALTER TABLE backups_checkrow SET LOGGED;"),
    ]
