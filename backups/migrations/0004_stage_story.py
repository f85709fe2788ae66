"""The keys that a proof finds beside its clean-up, and the deletions whose keys a restore brings back."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

# Once a stage is confirmed, the figures of its proof stay as they are.
OTHERS = """
CREATE FUNCTION backups_stage_guard_others() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.others, NEW.remaining) IS DISTINCT FROM (OLD.others, OLD.remaining) THEN
    RAISE EXCEPTION 'what a stage proved cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stage_guard_others BEFORE UPDATE ON backups_cleanupstage
  FOR EACH ROW WHEN (OLD.state = 'confirmed') EXECUTE FUNCTION backups_stage_guard_others();
"""


class Migration(migrations.Migration):
    dependencies = [("backups", "0003_place_of_backups"), ("kvops", "0002_guards")]

    operations = [
        migrations.AddField("cleanupstage", "remaining", models.BigIntegerField(db_default=0, default=0)),
        migrations.AddField("cleanupstage", "others", models.BigIntegerField(db_default=0, default=0)),
        migrations.AddField("cleanupstage", "others_note", models.TextField(blank=True, db_default="", default="")),
        migrations.AddField(
            "cleanupstage",
            "others_by",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="kvops.person",
            ),
        ),
        migrations.AddField("cleanupstage", "others_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddConstraint(
            "cleanupstage",
            models.CheckConstraint(
                name="stage_others_explained_by_a_person",
                condition=Q(others_note="", others_by__isnull=True, others_at__isnull=True)
                | (~Q(others_note="") & Q(others_by__isnull=False, others_at__isnull=False)),
            ),
        ),
        migrations.AddConstraint(
            "cleanupstage",
            models.CheckConstraint(
                name="stage_accepted_explains_others",
                condition=~Q(state="accepted") | Q(others=0) | ~Q(others_note=""),
            ),
        ),
        migrations.CreateModel(
            "OtherName",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(db_collation="C")),
                (
                    "stage",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="other_names",
                        to="backups.cleanupstage",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            "othername", models.UniqueConstraint(fields=["stage", "name"], name="other_name_once_per_stage")
        ),
        migrations.AddField(
            "restore", "deletions", models.ManyToManyField(related_name="restores", to="backups.cleanupstage")
        ),
        migrations.RunSQL(OTHERS, "DROP FUNCTION backups_stage_guard_others CASCADE;"),
    ]
