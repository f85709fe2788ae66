"""How copies made for a deletion were shared: recorded once, and nothing is submitted without it."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

SHARES = """
CREATE FUNCTION backups_share_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'what was said of a copy is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'UPDATE' THEN
    RAISE EXCEPTION 'how a copy was shared cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.notification_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM kvops_notification n
      WHERE n.id = NEW.notification_id AND n.event = 'backup.for_deletion' AND n.person_id IS NULL
        AND n.subject = 'generation:' || NEW.generation_id AND n.state = 'delivered') THEN
    RAISE EXCEPTION 'a copy is shared by its own message, which was delivered' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER share_guard BEFORE INSERT OR UPDATE OR DELETE ON backups_backupshare
  FOR EACH ROW EXECUTE FUNCTION backups_share_guard();
CREATE TRIGGER share_guard_truncate BEFORE TRUNCATE ON backups_backupshare
  FOR EACH STATEMENT EXECUTE FUNCTION backups_share_guard();
"""

STAGES = """
CREATE FUNCTION backups_stage_guard_shared() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM backups_backupshare WHERE generation_id = NEW.generation_id) THEN
    RAISE EXCEPTION 'a stage is submitted only when its copy was shared' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stage_guard_shared BEFORE UPDATE ON backups_cleanupstage
  FOR EACH ROW WHEN (NEW.state = 'submitted' AND OLD.state <> 'submitted' AND NEW.generation_id IS NOT NULL)
  EXECUTE FUNCTION backups_stage_guard_shared();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0351_guards_of_drills"),
        ("kvops", "0321_guards_of_disposals"),
    ]

    operations = [
        migrations.CreateModel(
            name="BackupShare",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("place", models.CharField(max_length=500)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "generation",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="share", to="backups.generation"
                    ),
                ),
                (
                    "notification",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.notification"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("by__isnull", True), ("notification__isnull", False)),
                            models.Q(("by__isnull", False), ("notification__isnull", True)),
                            _connector="OR",
                        ),
                        name="share_by_a_message_or_a_person",
                    ),
                    models.CheckConstraint(condition=models.Q(("place", ""), _negated=True), name="share_says_where"),
                ],
            },
        ),
        migrations.RunSQL(
            SHARES,
            "DROP TRIGGER share_guard_truncate ON backups_backupshare; DROP TRIGGER share_guard ON backups_backupshare;"
            " DROP FUNCTION backups_share_guard;",
        ),
        migrations.RunSQL(
            STAGES,
            "DROP TRIGGER stage_guard_shared ON backups_cleanupstage; DROP FUNCTION backups_stage_guard_shared;",
        ),
    ]
