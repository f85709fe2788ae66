"""A pin is set once and taken off once, by people, and never goes."""

from django.db import migrations

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


class Migration(migrations.Migration):
    dependencies = [("backups", "0262_pins")]

    operations = [
        migrations.RunSQL(
            PINS,
            """
            DROP TRIGGER pin_guard_truncate ON backups_pin;
            DROP TRIGGER pin_guard ON backups_pin;
            DROP FUNCTION backups_pin_guard;
            """,
        ),
    ]
