"""The names of clean-ups and restores are found alone; those of clean-ups also by a part."""

from django.db import migrations, models

INDEX = """
DO $$ DECLARE home text; BEGIN
  SELECT n.nspname INTO STRICT home
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
  EXECUTE format('CREATE INDEX cleanup_by_part ON backups_cleanupentry USING gin (name %I.gin_trgm_ops)', home);
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0004_stage_story"), ("kvops", "0005_find_names")]

    operations = [
        migrations.AddIndex(
            model_name="cleanupentry",
            index=models.Index(fields=["name", "stage"], name="cleanup_by_name"),
        ),
        migrations.AddIndex(
            model_name="restoreentry",
            index=models.Index(fields=["name", "restore"], name="restore_by_name"),
        ),
        migrations.RunSQL(INDEX, "DROP INDEX cleanup_by_part;"),
    ]
