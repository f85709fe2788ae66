"""Alarms about keys: changes outside KVOps, expiry, deletions and the comparison with D1."""

from django.utils.translation import gettext_lazy as _

from kvops.help.alarm_help import AlarmGroup, AlarmHelp

KEYS = AlarmGroup(
    _("Keys"),
    (
        AlarmHelp(
            "deletion.unexplained",
            _("Unexplained deletions"),
            _("A scan no longer finds keys that KVOps did not delete and that had not expired."),
            _("Ask Cloudflare's audit log and the team who deleted them, restore what is missing, and note the cause."),
            "unexplained",
        ),
        AlarmHelp(
            "key.unexpected",
            _("Unexpected keys"),
            _("A new key appeared in a legacy family, or under a prefix that a clean-up had emptied."),
            _("Some code still writes it. Find it under Code references, and remove it before the next clean-up."),
            "unexplained",
        ),
        AlarmHelp(
            "key.reappeared",
            _("Deleted keys reappeared"),
            _("A key that a clean-up had proven gone is listed again, and no restore of KVOps brought it back."),
            _("Find its writer, note your findings on the stage, and clean up again after the code is mended."),
            "backups:cleanup_list",
        ),
        AlarmHelp(
            "key.unclassified",
            _("Unclassified keys"),
            _("No family knows these keys. They are masked and treated as settings, and are in no routine backup."),
            _("Register a family for them on the page of categories. The assistant groups them by shape."),
            "categories",
        ),
        AlarmHelp(
            "key.lacks_expiry",
            _("Keys without the expiry of their family"),
            _("The family is designed to expire, but these keys have neither an expiration nor the mark."),
            _("Set an expiry on the selected keys, or clear them, and correct the code that writes them."),
            "expiry",
        ),
        AlarmHelp(
            "setting.changed_outside",
            _("Settings changed outside KVOps"),
            _("Two backups differ in a settings key, and no change of KVOps explains it."),
            _("Find out who changed it and why, and note it. Undo it with a change, if it was wrong."),
            "backups:outside_list",
        ),
        AlarmHelp(
            "setting.not_comparable",
            _("Two backups of settings are not comparable"),
            _("The digest key changed between them, so a change outside KVOps could not be seen."),
            _("Keep the older KVOPS_DIGEST_KEY below the new one until the next backup, or compare the keys by hand."),
            "backups:outside_list",
        ),
        AlarmHelp(
            "clearing.stopped",
            _("A scheduled clearing stopped"),
            _("A round stopped before it deleted anything, or in the middle. The page has the reason."),
            _("Read the reason. If the rule, its cap or its schedule is to change, ask for a new approval."),
            "backups:clearings",
        ),
        AlarmHelp(
            "answer.contradicted",
            _("An answer of Cloudflare contradicts itself"),
            _("Two reads of the same thing differ in a way that must not be. The work on it stopped."),
            _("Read the run's page. Scan again; if it stays so, show the request ids to Cloudflare's support."),
            "runs",
        ),
        AlarmHelp(
            "stage.differs",
            _("Differences with D1 after a clean-up"),
            _("The check after the deletion found rows that differ from the backup or the dataset."),
            _("Find the cause on the check's page, load what is missing into D1, and note it when you accept."),
            "backups:cleanup_list",
        ),
        AlarmHelp(
            "difference.unattended",
            _("Nobody looks into differences with D1"),
            _("The newest check of a dataset found differences, and no person has taken them."),
            _("Open the check, and say who looks into it and until when."),
            "backups:integrity",
        ),
        AlarmHelp(
            "difference.overdue",
            _("The cause of differences with D1 is overdue"),
            _("The person who looks into them has passed the date."),
            _("Note the cause, or give the case to somebody else with a new date."),
            "backups:integrity",
        ),
    ),
)
