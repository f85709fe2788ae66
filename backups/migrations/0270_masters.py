"""Copies of master data: where the rows were read and from which tables, frozen with the rest of a finished copy."""

from django.db import migrations, models

GUARD = """
CREATE FUNCTION backups_source_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.status <> 'writing' AND (NEW.source, NEW.tables) IS DISTINCT FROM (OLD.source, OLD.tables) THEN
    RAISE EXCEPTION 'what a finished copy is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER source_guard BEFORE UPDATE ON backups_generation
  FOR EACH ROW EXECUTE FUNCTION backups_source_guard();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0263_guards_of_pins"),
    ]

    operations = [
        migrations.AddField(
            "generation", "source", models.CharField(blank=True, default="", db_default="", max_length=500)
        ),
        migrations.AddField(
            "generation",
            "tables",
            models.JSONField(blank=True, default=list, db_default=models.Value([], models.JSONField())),
        ),
        migrations.AlterField(
            model_name="generation",
            name="purpose",
            field=models.CharField(
                choices=[
                    ("routine", "routine"),
                    ("cleanup", "clean-up"),
                    ("restore", "what a restore overwrites"),
                    ("masters", "master data of D1"),
                ],
                default="routine",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="generation",
            constraint=models.CheckConstraint(
                condition=models.Q(purpose="masters") & ~models.Q(source="")
                | ~models.Q(purpose="masters") & models.Q(source=""),
                name="generation_of_masters_names_its_source",
            ),
        ),
        migrations.RunSQL(
            GUARD, "DROP TRIGGER source_guard ON backups_generation; DROP FUNCTION backups_source_guard;"
        ),
    ]
