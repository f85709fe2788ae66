"""Workers inside Cloudflare give expirations under a standing approval; each round is a run."""

from datetime import timedelta

from django.db import migrations, models
from django.db.models import F, Value

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
    ("bulk_change", "change many cache keys"),
    ("worker_expiry", "expirations given by a Worker"),
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
    ("bulk_change", "bulk change of a cache"),
    ("outside", "search for changes outside KVOps"),
    ("compare_setting", "comparison of a setting"),
    ("vault", "keeping of a backup in 1Password"),
    ("vault_check", "look into a 1Password vault"),
    ("worker_round", "round of a Worker"),
]
CARRIED = ["drill", "prune_investigation", "clear", "worker_round"]
DESTRUCTIVE = ["delete", "restore", "undo", "prune", "change", "bulk_change", *CARRIED]
STANDING = ["drill", "investigation", "clearing", "worker_expiry"]

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


KINDS = ("'prune_investigation', 'clear'", "'prune_investigation', 'clear', 'worker_round'")

# A round of a Worker is allowed under the standing approval of its rule. No person starts it.
RUN_WORKERS = """
CREATE FUNCTION kvops_run_guard_workers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.started_by_id IS NOT NULL OR NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'worker_expiry' AND a.state = 'approved' AND a.subject = NEW.subject
        AND a.environment_id = NEW.environment_id AND a.standing_until > now()) THEN
    RAISE EXCEPTION 'a round of a Worker needs an approval that stands for its rule'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_workers BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.kind = 'worker_round') EXECUTE FUNCTION kvops_run_guard_workers();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0021_vault_and_rotation"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="approvalrequest",
            name="approval_stands_for_90_days",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_is_approved",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_in_a_worker",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_one_per_approval_and_kind",
        ),
        migrations.AlterField(
            model_name="approvalrequest",
            name="kind",
            field=models.CharField(choices=KINDS_OF_REQUESTS, max_length=20),
        ),
        migrations.AlterField(
            model_name="preparedchange",
            name="kind",
            field=models.CharField(choices=KINDS_OF_REQUESTS, max_length=20),
        ),
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(choices=KINDS_OF_RUNS, max_length=20),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("standing_until__isnull", True), models.Q(("kind__in", STANDING), _negated=True)),
                    models.Q(
                        ("kind__in", STANDING),
                        ("standing_until__isnull", False),
                        (
                            "standing_until__lte",
                            F("created_at") + Value(timedelta(days=90)),
                        ),
                    ),
                    _connector="OR",
                ),
                name="approval_stands_for_90_days",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", DESTRUCTIVE), _negated=True),
                    models.Q(("approval__isnull", False), models.Q(("approval_digest", ""), _negated=True)),
                    _connector="OR",
                ),
                name="run_destructive_is_approved",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", DESTRUCTIVE), _negated=True), ("foreground", False), _connector="OR"
                ),
                name="run_destructive_in_a_worker",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", CARRIED), _negated=True),
                fields=("approval", "kind"),
                name="run_one_per_approval_and_kind",
            ),
        ),
        edited("kvops_run_guard", *KINDS),
        edited("kvops_run_guard_restores", *KINDS),
        migrations.RunSQL(RUN_WORKERS, "DROP FUNCTION kvops_run_guard_workers CASCADE;"),
    ]
