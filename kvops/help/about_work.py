"""Alarms about KVOps itself: its processes, runs, schedules, messages and people's to-dos."""

from django.utils.translation import gettext_lazy as _

from kvops.help.alarm_help import AlarmGroup, AlarmHelp

WORK = AlarmGroup(
    _("KVOps itself"),
    (
        AlarmHelp(
            "process.worker",
            _("The worker does not execute tasks"),
            _("No backup, deletion or message goes on. Runs under way wait and lose nothing."),
            _("Start manage.py worker, and read its log. Its runs go on by themselves where they were."),
            "runs",
        ),
        AlarmHelp(
            "process.sweep",
            _("The sweep does not run"),
            _("No schedule starts, no waiting run is woken, and no message is sent."),
            _("Start manage.py sweep, and read its log. It catches up on what is due."),
            "schedules",
        ),
        AlarmHelp(
            "run.failed",
            _("A run failed"),
            _("The run stopped with an error. Its page says what is done and what is not."),
            _("Read the sentence on the run's page, mend the cause, and press Resume, or start the work again."),
            "runs",
        ),
        AlarmHelp(
            "run.waiting",
            _("Work waits for a service"),
            _("A service has kept a run waiting for a quarter of an hour. Nothing is lost, and it tries again."),
            _("See on Runs what it waits for. If a limit is the cause, end other work or wait."),
            "runs",
        ),
        AlarmHelp(
            "token.refused",
            _("A token is refused"),
            _("A service does not know a token, or the token lacks a permission. The message names its reference."),
            _("Replace the secret, restart the processes that read it, and resume the failed runs."),
            "environments",
        ),
        AlarmHelp(
            "clock.apart",
            _("Clocks differ"),
            _("The clocks of the database and of a service differ by over a minute. Nothing is deleted or restored."),
            _("Set the clock of the database's machine by NTP. The next request to the service measures it again."),
            "environments",
        ),
        AlarmHelp(
            "database.rolled_back",
            _("The database was rolled back"),
            _("A bucket holds a backup that the database does not know. Until this is settled KVOps is read-only."),
            _("Restore a newer state of the database. If there is none, run manage.py accept_restored_database."),
            "environments",
        ),
        AlarmHelp(
            "reviewer.recovery",
            _("A recovery of the reviewer was started"),
            _("Somebody at a shell asked for a new reviewer, as none is active. It takes effect after a day."),
            _("If none of you asked for it, find out at once who uses the server, and stop the sweep."),
            "people",
        ),
        AlarmHelp(
            "entry.missing",
            _("A decision or a role has no entry in the audit log"),
            _("A row says that somebody decided or got a role, and the audit log does not. It may be written by hand."),
            _("Start nothing by it. Change the database's passwords, find out who has them, and run verify_audit."),
            "audit:entries",
        ),
        AlarmHelp(
            "message.undelivered",
            _("A notification could not be delivered"),
            _("A mail or Slack message was refused, or has waited for more than a quarter of an hour."),
            _("Correct the mail server, the webhook or the person's address. Then send it again, or give it up."),
            "notifications",
        ),
        AlarmHelp(
            "schedule.missed",
            _("A schedule was missed or is overdue"),
            _("Its work did not start in time, or did not succeed twice in a row."),
            _("See on the schedule's page which runs failed and why. Start it once by hand after the repair."),
            "schedules",
        ),
        AlarmHelp(
            "schedule.refused",
            _("A schedule could not start its work"),
            _("A rule forbade the start, such as an emergency stop or a missing setting. Nothing was done."),
            _("Read the reason on the schedule's page and remove it. The next due time tries again."),
            "schedules",
        ),
        AlarmHelp(
            "todo.overdue",
            _("A to-do is overdue"),
            _("A follow-up of an operation has passed its date, such as a plain file without an encrypted place."),
            _("Do it, and tick it off in the runbook with a note."),
            "runbook-todos",
        ),
        AlarmHelp(
            "policy.edited",
            _("The policy was changed without an approval"),
            _("Families or datasets in the database are not as approved. Somebody changed them with SQL."),
            _(
                "Nothing is approved until they are as before. Find the change in the database's log, and put the rows"
                " back, or ask for the change with manage.py apply_policy."
            ),
            "categories",
        ),
    ),
)
