"""Each backup made for a deletion is shared with the team (policy 5.2b); nothing is submitted before that.

When the backup is complete, its message is posted to the channel of its environment; that cannot be switched off. The
channel's acceptance of the message, or a person's statement of the place, becomes the backup's `BackupShare`:
the first of both counts. It is written once and never changed, because it is part of the evidence. A trigger
refuses a submit without it. An environment without a channel has the statement only, and the page says so.
"""

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.cleanup.stages import CleanupRefused, insist_operator, locked
from backups.models import BackupShare, CleanupStage, Generation
from kvops.models import Notification, NotificationEvent, Person
from kvops.notifications import outbox
from kvops.wording import moment, say

SYSTEM = log.Actor.system("notifications")


def post(generation: Generation) -> None:
    """Post that a backup for a deletion is complete, within the caller's transaction; ignore other backups."""
    if (generation.purpose, generation.status) != (Generation.Purpose.CLEANUP, Generation.Status.COMPLETE):
        return
    environment = generation.environment
    prefix = ", ".join(stage.request.pattern for stage in generation.stages.select_related("request__family"))
    outbox.post(
        NotificationEvent.BACKUP_FOR_DELETION,
        subject=f"generation:{generation.pk}",
        title=say(_("Backup for a deletion in %(name)s: %(what)s"), name=environment.name, what=prefix),
        lines=[
            say(_("Made at %(time)s by %(who)s."), time=moment(generation.finished_at), who=generation.actor),
            say(
                _("Environment: %(name)s, namespace: %(title)s"),
                name=environment.name,
                title=generation.namespace.title,
            ),
            say(_("Keys: %(n)s, under %(prefix)s"), n=generation.keys, prefix=prefix),
            say(_("Object: %(bucket)s/%(key)s"), bucket=generation.bucket, key=generation.manifest_key),
            say(_("SHA-256 of the manifest: %(digest)s"), digest=generation.manifest_sha256),
        ],
        link=reverse("backups:generation", args=[generation.pk]),
        environment=environment,
    )


def message(generation: Generation) -> Notification | None:
    """The message to the channel; None if there was no channel when the backup was completed."""
    return Notification.objects.filter(
        event=NotificationEvent.BACKUP_FOR_DELETION, subject=f"generation:{generation.pk}", person=None
    ).first()


def delivered(notification: Notification) -> None:
    """Hook: the channel accepted the message."""
    generation = Generation.objects.get(pk=notification.subject.partition(":")[2])
    channel = notification.environment.slack if notification.environment else ""
    _share(generation, SYSTEM, place=f"Slack: {channel}", notification=notification)


def state(stage: CleanupStage, *, place: str, by: Person) -> BackupShare:
    """Record a person's statement of the place and people the stage's backup was shared with. Raises CleanupRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(stage)
        if mine.generation is None or mine.generation.status != Generation.Status.VERIFIED:
            raise CleanupRefused(_("There is no verified backup to share yet."))
        if not place.strip():
            raise CleanupRefused(_("Name the place and the people you shared it with."))
        if not _share(mine.generation, by.actor, place=place.strip()[:500], by=by):
            raise CleanupRefused(_("The place where this backup was shared is already recorded."))
    return BackupShare.objects.get(generation=mine.generation_id)


def _share(generation: Generation, actor: log.Actor, **how: object) -> bool:
    """Record the sharing unless there is one already; whether it was recorded."""
    share, created = BackupShare.objects.get_or_create(generation=generation, defaults=how)
    if created:
        log.record(
            Action.COPY_SHARED,
            actor=actor,
            **generation.audited,
            digest=generation.manifest_sha256,
            details={"place": share.place},
        )
    return created


def insist_shared(stage: CleanupStage) -> None:
    """Raise CleanupRefused unless the stage's backup was shared."""
    if not BackupShare.objects.filter(generation=stage.generation_id).exists():
        sentence = _(
            "The backup was not yet shared with the team. Wait until the channel has the message, or share it yourself."
        )
        raise CleanupRefused(sentence)
