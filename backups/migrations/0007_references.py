"""A stage keeps the search of its environment's code that its evidence rests on. The typed statement goes."""

import django.db.models.deletion
from django.db import migrations, models

# A stage is submitted with a recent search of its environment's code, and keeps it.
SEARCH = """
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


class Migration(migrations.Migration):
    dependencies = [("backups", "0006_exact_backups"), ("kvops", "0007_references")]

    operations = [
        migrations.RemoveField("cleanuprequest", "references"),
        migrations.AddField(
            "cleanupstage",
            "search",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="kvops.referencesearch",
            ),
        ),
        migrations.RunSQL(SEARCH, "DROP FUNCTION backups_stage_guard_search() CASCADE;"),
    ]
