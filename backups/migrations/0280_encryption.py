"""Copies that are encrypted: to whom, and with which key of digests; the database has none of secrets without."""

from django.db import migrations, models
from django.db.models import Q

GUARD = """
CREATE FUNCTION backups_encryption_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF jsonb_typeof(NEW.recipients) <> 'array' OR jsonb_array_length(NEW.recipients) = 1 THEN
    RAISE EXCEPTION 'a copy is encrypted to two recipients at least' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.status <> 'writing' AND
     (NEW.recipients, NEW.digest_key) IS DISTINCT FROM (OLD.recipients, OLD.digest_key) THEN
    RAISE EXCEPTION 'what a finished copy is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER encryption_guard BEFORE INSERT OR UPDATE ON backups_generation
  FOR EACH ROW EXECUTE FUNCTION backups_encryption_guard();
"""
UNDO = """
DROP TRIGGER encryption_guard ON backups_generation;
DROP FUNCTION backups_encryption_guard();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0270_masters"),
        ("kvops", "0280_family_encrypt"),
    ]

    operations = [
        migrations.AddField(
            "generation", "digest_key", models.CharField(blank=True, default="", max_length=16), preserve_default=False
        ),
        migrations.AddField("generation", "recipients", models.JSONField(default=list)),
        migrations.AddConstraint(
            "generation",
            models.CheckConstraint(
                name="generation_encrypted_has_a_digest_key",
                condition=Q(recipients=[], digest_key="") | (~Q(recipients=[]) & ~Q(digest_key="")),
            ),
        ),
        migrations.AddConstraint(
            "generation",
            models.CheckConstraint(
                name="generation_of_secrets_is_encrypted",
                condition=Q(status="writing") | Q(category__in=["cache", "legacy"]) | ~Q(recipients=[]),
            ),
        ),
        migrations.RunSQL(GUARD, UNDO),
    ]
