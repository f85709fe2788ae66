"""What a copy is, said by the database: once it is finished, nothing of it changes but how far it can be trusted.

A stage is deleted because a verified copy and a passed check say so; neither can be written as such, nor edited later.
"""

from django.db import migrations

GENERATIONS = """
CREATE FUNCTION backups_generation_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a copy is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.status <> 'writing' THEN
      RAISE EXCEPTION 'a copy starts as writing' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.status <> OLD.status AND (OLD.status || '>' || NEW.status) NOT IN (
      'writing>complete', 'writing>partial', 'complete>verified', 'complete>damaged', 'verified>damaged') THEN
    RAISE EXCEPTION 'a copy cannot go from % to %', OLD.status, NEW.status USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.retain_until < OLD.retain_until THEN
    RAISE EXCEPTION 'a copy is never kept for a shorter time' USING ERRCODE = 'restrict_violation';
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
    RAISE EXCEPTION 'what a finished copy is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER generation_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_generation
  FOR EACH ROW EXECUTE FUNCTION backups_generation_guard();
"""

# Once per statement: names come a million in one COPY. The lock makes a copy wait with finishing, or this with writing.
CONTENTS = """
CREATE FUNCTION backups_contents_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT bool_or(g.status <> 'writing') FROM (
      SELECT status FROM backups_generation WHERE id IN (SELECT generation_id FROM changed) FOR SHARE) g) THEN
    RAISE EXCEPTION 'the contents of a finished copy cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
"""
EVENTS = [("INSERT", "NEW"), ("UPDATE", "OLD"), ("UPDATE", "NEW"), ("DELETE", "OLD")]
CONTENT_TRIGGERS = {
    f"{name}_guard_{event}_{side}".lower(): (table, f"AFTER {event} ON {table} REFERENCING {side} TABLE AS changed")
    for name, table in (("part", "backups_generationpart"), ("entry", "backups_generationentry"))
    for event, side in EVENTS
}

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

TABLES = {
    "generation": "backups_generation",
    "part": "backups_generationpart",
    "entry": "backups_generationentry",
    "check": "backups_check",
}
TRUNCATION = """
CREATE FUNCTION backups_refuse_truncate_backups() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'copies and checks are never truncated' USING ERRCODE = 'restrict_violation';
END $$;
"""


def _names_guard(lock: str) -> str:
    """The guard of 0002; with the lock, a stage cannot leave its names between being looked at and being written."""
    return f"""
CREATE OR REPLACE FUNCTION backups_entry_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE of_stage bigint; its_state text;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    RAISE EXCEPTION 'a frozen name cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN of_stage := OLD.stage_id; ELSE of_stage := NEW.stage_id; END IF;
  SELECT state INTO its_state FROM backups_cleanupstage WHERE id = of_stage{lock};
  IF its_state NOT IN ('waiting', 'frozen') THEN
    RAISE EXCEPTION 'the names of a stage are frozen' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  RETURN NEW;
END $$;
"""


def _drop(table: str, trigger: str) -> str:
    return f"DROP TRIGGER {trigger} ON {table}; DROP FUNCTION backups_{trigger};"


class Migration(migrations.Migration):
    dependencies = [("backups", "0061_stage_leftovers")]

    operations = [
        migrations.RunSQL(GENERATIONS, _drop("backups_generation", "generation_guard")),
        migrations.RunSQL(
            CONTENTS
            + "".join(
                f"CREATE TRIGGER {name} {when} FOR EACH STATEMENT EXECUTE FUNCTION backups_contents_guard();\n"
                for name, (_, when) in CONTENT_TRIGGERS.items()
            ),
            "".join(f"DROP TRIGGER {name} ON {table};" for name, (table, _) in CONTENT_TRIGGERS.items())
            + "DROP FUNCTION backups_contents_guard;",
        ),
        migrations.RunSQL(CHECKS, _drop("backups_check", "check_guard")),
        migrations.RunSQL(
            TRUNCATION
            + "".join(
                f"CREATE TRIGGER {name}_guard_truncate BEFORE TRUNCATE ON {table}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_backups();\n"
                for name, table in TABLES.items()
            ),
            "".join(f"DROP TRIGGER {name}_guard_truncate ON {table};" for name, table in TABLES.items())
            + "DROP FUNCTION backups_refuse_truncate_backups;",
        ),
        migrations.RunSQL(_names_guard(" FOR SHARE"), _names_guard("")),
    ]
