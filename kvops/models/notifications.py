"""The outbox: messages to people and channels, written in the transaction that decides them."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops import timing
from kvops.models.environments import Environment
from kvops.models.people import Person
from kvops.wording import spoken, stored


class NotificationEvent(models.TextChoices):
    """The closed list of events; the `operation.py` of a feature has their recipients."""

    PERSON_INVITED = "person.invited", _("invitation")
    PERSON_CHANGED = "person.changed", _("roles of a person changed")
    REVIEWER_RECOVERY = "reviewer.recovery", _("recovery of the reviewer")
    ENTRY_MISSING = "entry.missing", _("decision or role without its entry")
    APPROVAL_WAITING = "approval.waiting", _("request waits for a decision")
    APPROVAL_DECIDED = "approval.decided", _("request decided")
    APPROVAL_EXPIRING = "approval.expiring", _("request about to expire")
    RUN_FINISHED = "run.finished", _("run finished")
    RUN_FAILED = "run.failed", _("run failed")
    RUN_WAITING = "run.waiting", _("work waits for a service")
    TOKEN_REFUSED = "token.refused", _("token refused")
    CLOCK_APART = "clock.apart", _("clocks differ")
    DATABASE_ROLLED_BACK = "database.rolled_back", _("database rolled back")
    BACKUP_FOR_DELETION = "backup.for_deletion", _("backup made for a deletion")
    GENERATION_MADE = "generation.made", _("backup made")
    GENERATION_FAILED = "generation.failed", _("backup failed")
    GENERATION_LATE = "generation.late", _("backup late")
    GENERATION_OVERDUE = "generation.overdue", _("backup overdue")
    GENERATION_DAMAGED = "generation.damaged", _("backup damaged")
    GENERATION_DEADLINE = "generation.deadline", _("backup can soon be deleted")
    GENERATION_PAST_DEADLINE = "generation.past_deadline", _("backup past its deletion date")
    COVERAGE_SHORT = "coverage.short", _("fewer than 14 days of restore history")
    OBJECT_MISSING = "object.missing", _("object missing")
    OBJECT_CHANGED = "object.changed", _("object changed")
    OBJECT_UNKNOWN = "object.unknown", _("object unknown")
    BUCKET_UNPROTECTED = "bucket.unprotected", _("bucket not protected")
    DRILL_FAILED = "drill.failed", _("drill failed")
    DRILL_OVERDUE = "drill.overdue", _("drill overdue")
    VAULT_LACKS = "vault.lacks", _("settings backup not in 1Password")
    CLEARING_STOPPED = "clearing.stopped", _("scheduled clearing stopped")
    ANSWER_CONTRADICTED = "answer.contradicted", _("answer contradicts itself")
    DELETION_UNEXPLAINED = "deletion.unexplained", _("unexplained deletions")
    KEY_UNEXPECTED = "key.unexpected", _("unexpected keys")
    SETTING_CHANGED_OUTSIDE = "setting.changed_outside", _("settings changed outside KVOps")
    KEY_LACKS_EXPIRY = "key.lacks_expiry", _("keys without the expiry of their family")
    KEY_REAPPEARED = "key.reappeared", _("deleted keys reappeared")
    STAGE_DIFFERS = "stage.differs", _("differences with D1 after a clean-up")
    SCHEDULE_MISSED = "schedule.missed", _("schedule missed")
    SCHEDULE_REFUSED = "schedule.refused", _("schedule could not start its work")
    TODO_OVERDUE = "todo.overdue", _("to-do overdue")


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Queries for notifications."""

    def undelivered(self) -> "NotificationQuerySet":
        """Notifications that wait for delivery, or could not be delivered."""
        return self.filter(state__in=Notification.UNDELIVERED)

    def late(self) -> "NotificationQuerySet":
        """Notifications that failed, or that were written longer ago than delivery takes."""
        written = Now() - timedelta(seconds=timing.MESSAGE_LATE)
        return self.filter(Q(state=Notification.State.FAILED) | Q(created_at__lt=written))

    def bundled_with(self, one: "Notification") -> "NotificationQuerySet":
        """The notification, and the others of its bundle for the same recipient: they are sent as one message."""
        if not one.bundle:
            return self.filter(pk=one.pk)
        channel = {} if one.person_id else {"environment": one.environment_id}
        return self.filter(bundle=one.bundle, person=one.person_id, **channel)

    def newest_first(self) -> "NotificationQuerySet":
        """Notifications with their recipients, newest first."""
        return self.select_related("environment", "person").order_by("-pk")


class Notification(models.Model):
    """One message for one recipient: a person by mail, or the channel of an environment.

    Notifications of one round of a check have the same `bundle`; those for the same recipient are sent as one message.

    waiting -> sending                 (claimed by one worker, tries + 1)
    sending -> delivered               (the service confirmed that it took the message)
    sending -> waiting                 (it did not, or that is unknown; tried again later)
    sending -> failed                  (the service refused, or a day is over)
    failed -> waiting | dropped        (by a person)

    Each move is one conditional UPDATE. If the outcome is unknown, the message is sent again, because neither Slack nor
    a mail server can be asked. `unclear` counts these cases.
    """

    class State(models.TextChoices):
        """The state of the message."""

        WAITING = "waiting", _("to be sent")
        SENDING = "sending", _("being sent")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("not delivered")
        DROPPED = "dropped", _("given up")

    UNDELIVERED = (State.WAITING, State.SENDING, State.FAILED)

    # No choices, so that a new event needs no migration. kvops.notifications refuses events that are not in the list.
    event = models.CharField(max_length=40)
    subject = models.CharField(max_length=100)
    occasion = models.CharField(max_length=100, blank=True)
    bundle = models.CharField(max_length=100, blank=True, db_default="")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, null=True, blank=True)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="notifications")
    language = models.CharField(max_length=10)
    title = models.CharField(max_length=300)
    lines = models.JSONField(default=list)
    link = models.CharField(max_length=500, blank=True)

    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    unclear = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now())
    claimed_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)
    error_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = NotificationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["event", "subject", "occasion", "person"],
                condition=Q(person__isnull=False),
                name="notification_once_per_person",
            ),
            models.UniqueConstraint(
                fields=["event", "subject", "occasion", "environment"],
                condition=Q(person__isnull=True),
                name="notification_once_per_channel",
            ),
            models.CheckConstraint(
                name="notification_has_a_recipient", condition=Q(person__isnull=False) | Q(environment__isnull=False)
            ),
            models.CheckConstraint(
                name="notification_state_is_known",
                condition=Q(state__in=["waiting", "sending", "delivered", "failed", "dropped"]),
            ),
            models.CheckConstraint(
                name="notification_delivered_has_a_time",
                condition=Q(state="delivered", delivered_at__isnull=False)
                | (~Q(state="delivered") & Q(delivered_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="notification_sending_was_claimed", condition=~Q(state="sending") | Q(claimed_at__isnull=False)
            ),
            models.CheckConstraint(name="notification_failed_says_why", condition=~Q(state="failed") | ~Q(error="")),
        ]
        indexes = [
            models.Index(
                fields=["next_at"], condition=Q(state__in=["waiting", "sending"]), name="notification_to_send"
            ),
            models.Index(fields=["-id"], condition=Q(state="failed"), name="notification_failed"),
            models.Index(fields=["subject", "event"], name="notification_by_subject"),
            models.Index(fields=["bundle"], condition=~Q(bundle=""), name="notification_by_bundle"),
        ]

    def __str__(self) -> str:
        return f"notification {self.pk}: {self.title}"

    @property
    def look(self) -> str:
        """The name of the state in `operations.registry.STATES`."""
        return f"notification_{self.state}"

    @property
    def shown_error(self) -> str:
        """The error in the reader's language."""
        return spoken(stored(self.error, self.error_sentence))

    @property
    def to_channel(self) -> bool:
        """Whether the message goes to the channel of its environment, not to a person."""
        return self.person_id is None

    @property
    def recipient(self) -> str:
        """The recipient; a channel by the name of its environment."""
        return str(self.person) if self.person else f"Slack: {self.environment}"
