"""Keys without an expiration are counted with each scan. A schedule may belong to one subject, such as a clearing."""

from datetime import timedelta

from django.db import migrations, models
from django.db.models import F, Q, Value

# Metadata is the API's own text. Text that jsonb cannot hold, such as U+0000 or a huge number, has no member.
HAS_MEMBER = """
CREATE FUNCTION kvops_has_member(metadata text, member text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN metadata LIKE '{%' AND metadata::jsonb ? member;
EXCEPTION WHEN data_exception THEN
  RETURN false;
END $$;
"""


KINDS_OF_REQUESTS = [
    ("delete_keys", "delete keys"),
    ("environment", "change environments"),
    ("policy", "change the policy"),
    ("family", "register a key family"),
    ("release_stop", "release an emergency stop"),
    ("restore", "restore keys"),
    ("delete_generations", "prune backups"),
    ("drill", "restore drills"),
    ("investigation", "prune an investigation backup"),
    ("put_key", "change a key"),
    ("clearing", "scheduled clearing of a cache"),
]
KINDS_OF_RUNS = [
    ("scan", "scan"),
    ("backup", "backup"),
    ("masters", "backup of master data"),
    ("verify", "verification"),
    ("check", "integrity check"),
    ("delete", "deletion"),
    ("confirm", "proof of absence"),
    ("reconcile", "listing of the bucket"),
    ("late_check", "late check"),
    ("preview", "preview of a restore"),
    ("restore", "restore"),
    ("undo", "undoing of a deletion"),
    ("prune", "prune run"),
    ("comparison", "comparison of a backup"),
    ("drill", "restore drill"),
    ("prune_investigation", "prune of an investigation backup"),
    ("look", "look at the deployed code"),
    ("search", "search of a deployed script"),
    ("change", "change of a key"),
    ("reverse_change", "preparation of a reverse change"),
    ("erase_proposal", "erasure of a proposal"),
    ("clear", "scheduled clearing"),
]
CARRIED = ["drill", "prune_investigation", "clear"]
DESTRUCTIVE = ["delete", "restore", "undo", "prune", "change", *CARRIED]
STANDING = ["drill", "investigation", "clearing"]

# The functions are edited as they are, whatever lists of kinds other migrations gave them.
EDIT = """
DO $do$
DECLARE body text;
BEGIN
  body := pg_get_functiondef('{function}()'::regprocedure);
  IF position($${old}$$ IN body) = 0 THEN
    RAISE EXCEPTION '{function} has changed';
  END IF;
  EXECUTE replace(body, $${old}$$, $${new}$$);
END $do$;
"""


def edited(function: str, old: str, new: str) -> migrations.RunSQL:
    """The function with another text at one place."""
    there = EDIT.format(function=function, old=old, new=new)
    return migrations.RunSQL(there, EDIT.format(function=function, old=new, new=old))


KINDS = ("'drill', 'prune_investigation'", "'drill', 'prune_investigation', 'clear'")

# A scheduled clearing runs under the standing approval of its rule. Whoever approved it does not start it by hand.
RUN_CLEARINGS = """
CREATE FUNCTION kvops_run_guard_clearings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'clearing' AND a.state = 'approved' AND a.subject = NEW.subject
        AND a.environment_id = NEW.environment_id AND a.standing_until > now()
        AND a.approver_id IS DISTINCT FROM NEW.started_by_id) THEN
    RAISE EXCEPTION 'a scheduled clearing needs an approval that stands for its rule, by another person'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_clearings BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.kind = 'clear') EXECUTE FUNCTION kvops_run_guard_clearings();
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
        migrations.AddField(
            "schedule", "subject", models.CharField(blank=True, db_default="", default="", max_length=100)
        ),
        migrations.RemoveConstraint("schedule", "schedule_once_per_environment"),
        migrations.AddConstraint(
            "schedule",
            models.UniqueConstraint(
                fields=["job", "environment", "subject"], nulls_distinct=False, name="schedule_once_per_environment"
            ),
        ),
        migrations.AlterField("approvalrequest", "kind", models.CharField(choices=KINDS_OF_REQUESTS, max_length=20)),
        migrations.AlterField("preparedchange", "kind", models.CharField(choices=KINDS_OF_REQUESTS, max_length=20)),
        migrations.AlterField("run", "kind", models.CharField(choices=KINDS_OF_RUNS, max_length=20)),
        migrations.RemoveConstraint("approvalrequest", "approval_stands_for_90_days"),
        migrations.AddConstraint(
            "approvalrequest",
            models.CheckConstraint(
                name="approval_stands_for_90_days",
                condition=(Q(standing_until__isnull=True) & ~Q(kind__in=STANDING))
                | Q(
                    kind__in=STANDING,
                    standing_until__isnull=False,
                    standing_until__lte=F("created_at") + Value(timedelta(days=90)),
                ),
            ),
        ),
        migrations.RemoveConstraint("run", "run_destructive_is_approved"),
        migrations.AddConstraint(
            "run",
            models.CheckConstraint(
                name="run_destructive_is_approved",
                condition=~Q(kind__in=DESTRUCTIVE) | (Q(approval__isnull=False) & ~Q(approval_digest="")),
            ),
        ),
        migrations.RemoveConstraint("run", "run_destructive_in_a_worker"),
        migrations.AddConstraint(
            "run",
            models.CheckConstraint(
                name="run_destructive_in_a_worker", condition=~Q(kind__in=DESTRUCTIVE) | Q(foreground=False)
            ),
        ),
        migrations.RemoveConstraint("run", "run_one_per_approval_and_kind"),
        migrations.AddConstraint(
            "run",
            models.UniqueConstraint(
                fields=["approval", "kind"], condition=~Q(kind__in=CARRIED), name="run_one_per_approval_and_kind"
            ),
        ),
        edited("kvops_run_guard", *KINDS),
        edited("kvops_run_guard_restores", *KINDS),
        migrations.RunSQL(RUN_CLEARINGS, "DROP FUNCTION kvops_run_guard_clearings CASCADE;"),
    ]
