"""ANALYZE is the owner's alone; the application, which fills the stage, asks for it through this function."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("kvops", "0110_late_checks")]

    operations = [
        migrations.RunSQL(
            """
            CREATE FUNCTION kvops_analyze_stage() RETURNS void LANGUAGE sql SECURITY DEFINER
              SET search_path = public, pg_temp AS 'ANALYZE kvops_stagedkey';
            """,
            "DROP FUNCTION kvops_analyze_stage();",
        )
    ]
