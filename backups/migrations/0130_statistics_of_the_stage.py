"""ANALYZE is the owner's alone; the application, which fills the stage, asks for it through this function."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("backups", "0110_reappearances")]

    operations = [
        migrations.RunSQL(
            """
            CREATE FUNCTION backups_analyze_stage() RETURNS void LANGUAGE sql SECURITY DEFINER
              SET search_path = public, pg_temp AS 'ANALYZE backups_stagedobject';
            """,
            "DROP FUNCTION backups_analyze_stage();",
        )
    ]
