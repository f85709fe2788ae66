"""A clean-up may be prepared by a command, which has no person: then its text says whose."""

import django.db.models.deletion
from django.db import migrations, models

COLUMNS = ("id", "binding", "prefix", "family_id", "category", "reason", "requested_by_id", "created_at")


def _guard(columns: tuple[str, ...]) -> str:
    new, old = (", ".join(f"{row}.{column}" for column in columns) for row in ("NEW", "OLD"))
    return f"""
CREATE OR REPLACE FUNCTION backups_request_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a clean-up is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.category <> (SELECT category FROM kvops_family WHERE id = NEW.family_id) THEN
      RAISE EXCEPTION 'a clean-up has the category of its family' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF ({new}) IS DISTINCT FROM ({old}) THEN
    RAISE EXCEPTION 'what a clean-up is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (OLD.ended_at IS NOT NULL OR OLD.completed_at IS NOT NULL) AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a clean-up that is over cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0280_encryption")]

    operations = [
        migrations.AddField(
            "cleanuprequest", "asked_by", models.CharField(blank=True, default="", db_default="", max_length=200)
        ),
        migrations.AlterField(
            "cleanuprequest",
            "requested_by",
            models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.person"),
        ),
        migrations.AddConstraint(
            "cleanuprequest",
            models.CheckConstraint(
                condition=models.Q(requested_by__isnull=False, asked_by="")
                | models.Q(requested_by__isnull=True) & ~models.Q(asked_by=""),
                name="cleanup_is_asked_for_by_somebody",
            ),
        ),
        migrations.RunSQL(_guard((*COLUMNS, "asked_by")), _guard(COLUMNS)),
    ]
