"""A clean-up of a cache may choose its keys by what a listing shows."""

from django.db import migrations, models
from django.db.models import Q

ONLY = """
CREATE FUNCTION backups_only_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.only <> OLD.only THEN
    RAISE EXCEPTION 'what a clean-up is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER only_guard BEFORE UPDATE ON backups_cleanuprequest
  FOR EACH ROW EXECUTE FUNCTION backups_only_guard();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0014_changes")]

    operations = [
        migrations.AddField(
            "cleanuprequest",
            "only",
            models.JSONField(blank=True, default=dict, db_default=models.Value({}, models.JSONField())),
        ),
        migrations.AddConstraint(
            "cleanuprequest",
            models.CheckConstraint(
                name="cleanup_chooses_among_caches", condition=Q(only={}) | Q(category="cache", exact=False)
            ),
        ),
        migrations.RunSQL(ONLY, "DROP FUNCTION backups_only_guard CASCADE;"),
    ]
