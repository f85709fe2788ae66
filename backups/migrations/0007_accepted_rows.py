"""A stage is checked by a check that passed, or by one whose only differences are rows that are newer in D1.

The latter needs the stated cause and a new export from D1, both younger than a check that had found these rows. Its
approval names the risk.
"""

from django.db import migrations, models

ACCEPTABLE = """
CREATE FUNCTION backups_only_newer(found bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM backups_check c JOIN backups_dataset d ON d.id = c.dataset_id
    WHERE c.id = found AND c.outcome = 'failed' AND c.differences > 0 AND c.newer = c.differences
      AND c.differences = (SELECT count(*) FROM backups_difference f WHERE f.check_run_id = c.id)
      AND NOT EXISTS (SELECT FROM backups_difference f WHERE f.check_run_id = c.id AND f.newer_at IS NULL)
      AND EXISTS (
        SELECT FROM backups_check e
        JOIN backups_differencecase k ON k.environment_id = c.environment_id AND k.dataset_id = c.dataset_id
          AND k.source = 'kv' AND k.outcome = 'accepted' AND k.closed_at >= e.finished_at
        JOIN backups_generation g ON g.environment_id = c.environment_id AND g.purpose = 'masters'
          AND g.source = 'd1' AND g.status = 'verified' AND g.started_at >= e.finished_at
          AND g.tables @> jsonb_build_array(jsonb_build_object('dataset', d.name))
        WHERE e.id < c.id AND e.outcome = 'failed' AND e.generation_id = c.generation_id
          AND e.definition_digest = c.definition_digest
          AND NOT EXISTS (
            SELECT f.name, f.row FROM backups_difference f WHERE f.check_run_id = c.id
            EXCEPT SELECT f.name, f.row FROM backups_difference f WHERE f.check_run_id = e.id)))
$$;
"""
BEFORE = "c.generation_id = NEW.generation_id AND c.outcome = 'passed')"
AFTER = "c.generation_id = NEW.generation_id AND (c.outcome = 'passed' OR backups_only_newer(c.id)))"
EXCHANGE = """
DO $exchange$
DECLARE definition text := pg_get_functiondef('backups_stage_guard_moves'::regproc);
BEGIN
  IF position($old${old}$old$ IN definition) = 0 THEN
    RAISE EXCEPTION 'the guard of stages is not as expected';
  END IF;
  EXECUTE replace(definition, $old${old}$old$, $new${new}$new$);
END $exchange$;
"""

# What is not equal to D1 is submitted, approved and deleted only with the name of its risk.
NAMED = """
CREATE FUNCTION backups_stage_guard_newer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM backups_check c WHERE c.id = NEW.check_passed_id AND c.outcome <> 'passed')
     AND NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND (a.evidence::json -> 'risks')::jsonb ? 'd1_newer') THEN
    RAISE EXCEPTION 'rows that are newer in D1 are accepted by name' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stage_guard_newer BEFORE UPDATE ON backups_cleanupstage
  FOR EACH ROW WHEN (NEW.state IN ('submitted', 'approved', 'deleting') AND NEW.state <> OLD.state
    AND NEW.check_passed_id IS NOT NULL)
  EXECUTE FUNCTION backups_stage_guard_newer();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0006_newer_in_d1")]

    operations = [
        migrations.AddField("cleanupstage", "after_accepted", models.BooleanField(default=False, db_default=False)),
        migrations.RunSQL(ACCEPTABLE, "DROP FUNCTION backups_only_newer(bigint);"),
        migrations.RunSQL(EXCHANGE.format(old=BEFORE, new=AFTER), EXCHANGE.format(old=AFTER, new=BEFORE)),
        migrations.RunSQL(NAMED, "DROP FUNCTION backups_stage_guard_newer CASCADE;"),
    ]
