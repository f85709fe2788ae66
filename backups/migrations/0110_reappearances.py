"""Deleted keys that are there again: reported once, acknowledged once, never forgotten."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

GUARD = """
CREATE FUNCTION backups_reappearance_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'a key that was found again is never forgotten' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NOT EXISTS (SELECT FROM backups_cleanupentry
                   WHERE stage_id = NEW.stage_id AND index = NEW.index AND name = NEW.name) THEN
      RAISE EXCEPTION 'only a name of the stage is found again' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.acknowledged_at IS NOT NULL THEN
      RAISE EXCEPTION 'what is found again was not acknowledged before' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.acknowledged_at IS NOT NULL AND NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'an acknowledgement cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.stage_id, NEW.index, NEW.name, NEW.same, NEW.found_at)
     IS DISTINCT FROM (OLD.id, OLD.stage_id, OLD.index, OLD.name, OLD.same, OLD.found_at) THEN
    RAISE EXCEPTION 'what was found again cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER reappearance_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_reappearance
  FOR EACH ROW EXECUTE FUNCTION backups_reappearance_guard();
CREATE TRIGGER reappearance_guard_truncate BEFORE TRUNCATE ON backups_reappearance
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate();
"""
UNGUARD = """
DROP TRIGGER reappearance_guard_truncate ON backups_reappearance;
DROP TRIGGER reappearance_guard ON backups_reappearance;
DROP FUNCTION backups_reappearance_guard;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0170_stored_objects"),
        ("kvops", "0110_late_checks"),
    ]

    operations = [
        migrations.AddField(
            model_name="cleanupstage",
            name="late_run",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.run"
            ),
        ),
        migrations.CreateModel(
            name="Reappearance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("index", models.BigIntegerField()),
                ("name", models.TextField(db_collation="C")),
                ("same", models.BooleanField()),
                ("found_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("note", models.TextField(blank=True)),
                ("acknowledged_at", models.DateTimeField(blank=True, null=True)),
                (
                    "acknowledged_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "stage",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reappearances",
                        to="backups.cleanupstage",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("acknowledged_at", None)), fields=["stage"], name="reappearance_unseen"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("stage", "index"), name="reappearance_once_per_name"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("acknowledged_at__isnull", True), ("acknowledged_by__isnull", True), ("note", "")
                            ),
                            models.Q(
                                models.Q(("note", ""), _negated=True),
                                ("acknowledged_at__isnull", False),
                                ("acknowledged_by__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="reappearance_acknowledged_with_a_note",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARD, UNGUARD),
    ]
