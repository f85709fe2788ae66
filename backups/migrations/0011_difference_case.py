"""Cases of differences, and the rules that keep what a case is about and how it ended."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

# The fields that say what a case is about stay as they are, and a closed case stays as it was closed.
GUARD = """
CREATE FUNCTION backups_case_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a case of differences is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.closed_at IS NOT NULL THEN
    RAISE EXCEPTION 'a closed case of differences cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.environment_id, NEW.dataset_id, NEW.source, NEW.failed_id, NEW.opened_by_id, NEW.opened_at)
     IS DISTINCT FROM
     (OLD.id, OLD.environment_id, OLD.dataset_id, OLD.source, OLD.failed_id, OLD.opened_by_id, OLD.opened_at) THEN
    RAISE EXCEPTION 'what a case of differences is about cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER case_guard BEFORE UPDATE OR DELETE ON backups_differencecase
  FOR EACH ROW EXECUTE FUNCTION backups_case_guard();
CREATE TRIGGER case_guard_truncate BEFORE TRUNCATE ON backups_differencecase
  FOR EACH STATEMENT EXECUTE FUNCTION backups_case_guard();
"""
UNDO = "DROP FUNCTION backups_case_guard() CASCADE;"


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0010_shapes"),
        ("kvops", "0011_live"),
    ]

    operations = [
        migrations.CreateModel(
            name="DifferenceCase",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.CharField(max_length=10)),
                ("opened_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("due", models.DateField()),
                ("note", models.TextField(blank=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("d1", "D1 corrected"),
                            ("kv", "KV loaded again"),
                            ("accepted", "accepted as it is"),
                            ("dataset", "mistake in the dataset, corrected"),
                            ("unexplained", "unexplained so far"),
                            ("passed", "a later check passed"),
                        ],
                        max_length=20,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "closed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="cases", to="backups.dataset"
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.environment"
                    ),
                ),
                (
                    "failed",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="backups.check"
                    ),
                ),
                (
                    "opened_by",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="cases", to="kvops.person"
                    ),
                ),
                (
                    "passed",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="backups.check",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("environment", "dataset", "source"),
                        name="case_open_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("closed_at__isnull", True),
                                ("closed_by__isnull", True),
                                ("outcome__in", ["", "unexplained"]),
                                ("passed__isnull", True),
                            ),
                            models.Q(
                                ("closed_at__isnull", False),
                                ("closed_by__isnull", False),
                                ("outcome__in", ["d1", "kv", "accepted", "dataset"]),
                                ("passed__isnull", True),
                            ),
                            models.Q(
                                ("closed_at__isnull", False),
                                ("closed_by__isnull", True),
                                ("outcome", "passed"),
                                ("passed__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="case_closed_by_a_person_or_a_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("outcome__in", ["accepted", "unexplained"]), _negated=True),
                            models.Q(("reason", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="case_says_why",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARD, UNDO),
    ]
