"""Keys without an expiration are counted with each scan. A schedule may belong to one subject, such as a clearing."""

from django.db import migrations, models
from django.db.models import F, Q

# Metadata is the API's own text. Text that jsonb cannot hold, such as U+0000, has no member that anybody could read.
HAS_MEMBER = """
CREATE FUNCTION kvops_has_member(metadata text, member text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN metadata LIKE '{%' AND metadata::jsonb ? member;
EXCEPTION WHEN invalid_text_representation OR untranslatable_character THEN
  RETURN false;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("kvops", "0017_changes")]

    operations = [
        migrations.AddField("scancount", "without_expiration", models.BigIntegerField(blank=True, null=True)),
        migrations.AddField("scancount", "lacking", models.BigIntegerField(blank=True, null=True)),
        migrations.AddConstraint(
            "scancount",
            models.CheckConstraint(
                name="scan_counts_expirations_of_its_keys",
                condition=Q(without_expiration__isnull=True, lacking__isnull=True)
                | Q(
                    without_expiration__isnull=False,
                    lacking__isnull=False,
                    without_expiration__lte=F("keys"),
                    lacking__gte=0,
                    lacking__lte=F("without_expiration"),
                ),
            ),
        ),
        migrations.RunSQL(HAS_MEMBER, "DROP FUNCTION kvops_has_member;"),
    ]
