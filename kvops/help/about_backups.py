"""Alarms about backups: late, damaged, too few, kept too long, or never tried."""

from django.utils.translation import gettext_lazy as _

from kvops.help.alarm_help import AlarmGroup, AlarmHelp

BACKUPS = AlarmGroup(
    _("Backups"),
    (
        AlarmHelp(
            "generation.failed",
            _("A backup failed"),
            _("The run that makes the backup ended with an error. Earlier backups are not touched."),
            _("Read the run's page, mend the cause, and start the backup again."),
            "backups:backups",
        ),
        AlarmHelp(
            "generation.late",
            _("A backup is late"),
            _("The last due backup did not come in time. One missed backup leaves a day without a restore point."),
            _("See whether the schedule, the worker or the bucket is the cause, and start the backup by hand."),
            "backups:backups",
        ),
        AlarmHelp(
            "generation.overdue",
            _("A backup is overdue"),
            _("The family has had no verified backup for two due times."),
            _("Start a backup by hand now, and then mend the schedule."),
            "backups:backups",
        ),
        AlarmHelp(
            "generation.damaged",
            _("A backup is damaged"),
            _("An object of the backup is missing from the bucket, or is not as it was written."),
            _("Make a new backup at once, and find out who touched the bucket. A full read-back that passes heals it."),
            "backups:backups",
        ),
        AlarmHelp(
            "generation.partial",
            _("The newest backup is partial"),
            _("Some keys could not be read, so no deletion may rely on it. The backup's page names the reason."),
            _("Make another backup. If the reason is a key's name or value, see the help on its page."),
            "backups:backups",
        ),
        AlarmHelp(
            "generation.unverified",
            _("The newest backup was never verified"),
            _("Its objects were written, but not read back within a day."),
            _("Verify it on its page, and see on Runs why the verification did not happen."),
            "backups:backups",
        ),
        AlarmHelp(
            "generation.deadline",
            _("A backup can soon be deleted"),
            _("Its last day of retention is near. Nothing is deleted without an approved request."),
            _("Pin it if you need it longer. Otherwise do nothing."),
            "backups:retention",
        ),
        AlarmHelp(
            "generation.past_deadline",
            _("A backup is past its deletion date"),
            _("The policy wants it gone by now, such as the backup of a cache after 30 days."),
            _("Ask for its deletion on the page of retention; a second person approves it."),
            "backups:retention",
        ),
        AlarmHelp(
            "coverage.short",
            _("Fewer than 14 days of restore history"),
            _("A family cannot be restored to each of the last 14 days, as the policy wants."),
            _("See on the page of backups which days are missing. Mend the schedule; missing days cannot be made."),
            "backups:backups",
        ),
        AlarmHelp(
            "drill.failed",
            _("A drill failed"),
            _("A restore into the scratch place did not give back what the backup holds."),
            _("Take this backup for unusable until the cause is found. Verify it, and repeat the drill."),
            "backups:drills",
        ),
        AlarmHelp(
            "drill.overdue",
            _("A drill is overdue"),
            _("No restore was tried within the time of its schedule, so nobody knows that it works."),
            _("Start a drill by hand on its page."),
            "backups:drills",
        ),
        AlarmHelp(
            "vault.lacks",
            _("A settings backup is not in 1Password"),
            _("It is late, too large, refused, missing or changed there. The copy in R2 is not touched."),
            _("Read the reason on the page of 1Password, mend the token or the vault, and keep it by the button."),
            "backups:vault",
        ),
        AlarmHelp(
            "investigation.past_end",
            _("The backup of an investigation should have been deleted"),
            _("The investigation is over, but the lifecycle rule or KVOps has not erased its backup yet."),
            _("See on its page what keeps it. Check the lifecycle rule for investigations/ in the bucket."),
            "backups:investigations",
        ),
    ),
)
