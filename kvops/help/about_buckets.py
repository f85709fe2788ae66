"""Alarms about buckets: their objects, lock, lifecycle rules and public access."""

from django.utils.translation import gettext_lazy as _

from kvops.help.alarm_help import AlarmGroup, AlarmHelp

BUCKETS = AlarmGroup(
    _("Buckets"),
    (
        AlarmHelp(
            "object.missing",
            _("An object is missing from the bucket"),
            _("The listing of the bucket lacks an object of a backup. The backup counts as damaged."),
            _("Find out who deleted it, make a new backup, and set the bucket's lock."),
            "backups:storage",
        ),
        AlarmHelp(
            "object.changed",
            _("An object in the bucket changed"),
            _("An object of a backup has another size or ETag than when it was written."),
            _("Find out who wrote it, make a new backup, and set the bucket's lock."),
            "backups:storage",
        ),
        AlarmHelp(
            "object.unknown",
            _("An unknown object in the bucket"),
            _("Something lies under the prefix of the backups that KVOps did not write."),
            _("See what it is on the page of storage. Move it elsewhere, or adopt it if it is an older backup."),
            "backups:storage",
        ),
        AlarmHelp(
            "bucket.unprotected",
            _("A bucket is not protected"),
            _("Its lock is missing, off, too short or covers only a part, so that backups can be deleted."),
            _("Set the lock as the page of storage shows it, with wrangler or in Cloudflare's dashboard."),
            "backups:storage",
        ),
        AlarmHelp(
            "bucket.unknown",
            _("The protection of a bucket is not known"),
            _("KVOps could not read the bucket's lock and lifecycle rules. The page says why."),
            _("Give the read token the permission Workers R2 Storage Read, or try again if Cloudflare did not answer."),
            "backups:storage",
        ),
        AlarmHelp(
            "bucket.wide_lock",
            _("A lock covers more than the backups"),
            _("Other data of the bucket cannot be deleted or overwritten either."),
            _("Narrow the rule's prefix to that of the backups, if this is not meant."),
            "backups:storage",
        ),
        AlarmHelp(
            "bucket.lifecycle",
            _("A lifecycle rule deletes backups"),
            _("A rule of the bucket deletes objects under the prefix of the backups without an approval."),
            _("Remove the rule, or narrow its prefix. KVOps deletes backups itself after an approved request."),
            "backups:storage",
        ),
        AlarmHelp(
            "bucket.public",
            _("Anybody can read a bucket"),
            _("The bucket is public. Whoever knows a name reads the backups that are not encrypted."),
            _("Turn public access off in Cloudflare at once, and see in its logs who read."),
            "backups:storage",
        ),
        AlarmHelp(
            "bucket.uploads",
            _("Unfinished uploads in a bucket"),
            _("KVOps never uses multipart uploads, so something else writes under the prefix of the backups."),
            _("Find the writer, and abort the uploads."),
            "backups:storage",
        ),
    ),
)
