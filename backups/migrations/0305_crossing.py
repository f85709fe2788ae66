"""Production's keys go into another environment only by a rule of the policy, name by name, and not never any more."""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("backups.migrations.0101_guards_of_restores").RESTORES
BEFORE = BEFORE[: BEFORE.index("CREATE TRIGGER")].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
_NEVER = BEFORE[
    BEFORE.index("    IF EXISTS (\n        SELECT FROM backups_generation g JOIN kvops_environment source") :
]
_NEVER = _NEVER[: _NEVER.index("    END IF;\n") + len("    END IF;\n")]
NOW = BEFORE.replace(_NEVER, "")

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
CREATE TRIGGER restore_guard_crossing_insert BEFORE INSERT ON backups_restore
  FOR EACH ROW EXECUTE FUNCTION backups_restore_guard_crossing();
CREATE TRIGGER restore_guard_crossing BEFORE UPDATE ON backups_restore
  FOR EACH ROW WHEN (NEW.state IN ('submitted', 'writing') AND OLD.state <> NEW.state)
  EXECUTE FUNCTION backups_restore_guard_crossing();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0290_asked_by_a_command"), ("kvops", "0305_family_qa_may_take")]

    operations = [
        migrations.RunSQL(
            CROSSING,
            "DROP TRIGGER restore_guard_crossing ON backups_restore;"
            " DROP TRIGGER restore_guard_crossing_insert ON backups_restore;"
            " DROP FUNCTION backups_restore_guard_crossing;",
        ),
        migrations.RunSQL(NOW, BEFORE),
    ]
