"""Notifications: an outbox that is written in the deciding transaction, and its delivery.

`post` writes one row per recipient (a person by mail, an environment's Slack channel), in that recipient's language,
with times in that person's zone.
Unique constraints keep it to once per recipient, event, subject and occasion. The feature of an
event names the roles it is sent to. A requester gets no message about their own request.

One round of a check can find many things at once. Its notifications share a bundle (`bundles.one_bundle`), and each
recipient gets one message with all of theirs.

The sweep wakes a worker for due messages. The worker claims the row, sends the message and writes the outcome. If a
service does not take a message, it is sent again after ever longer waits for a day. Then, and at once if it is refused,
it is an alarm until a person has it sent again or gives it up (`/notifications/`). If the outcome is unknown, because
the worker died or no answer came, the message is sent again. It says so and has the same number (and Message-ID): a
repetition does less harm than silence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy, gettext_noop

from audit import log
from audit.actions import Action
from kvops import queue, timing
from kvops.connections import credentials
from kvops.models import Environment, Notification, NotificationEvent, Person, Role
from kvops.names import visible
from kvops.notifications import bundles, senders
from kvops.notifications.senders import MessageRefused, MessageTryLater, NotDelivered, Unclear
from kvops.operations.registry import NOTICES
from kvops.refusals import Refused
from kvops.wording import columns

State = Notification.State
BATCH = 100
SYSTEM = log.Actor.system("notifications")
NOBODY_KNOWS = gettext_noop("The worker ended while sending. The message may have arrived.")
NO_CHANNEL = gettext_noop(
    "The environment no longer has a channel. Add one in environments.toml, or give up this notification."
)


class NotFailed(Refused):
    """The notification has not failed. Only a failed one can be sent again or given up by a person."""


def post(
    event: NotificationEvent,
    *,
    subject: str,
    title: str,
    lines: Sequence[str] = (),
    link: str = "",
    environment: Environment | None = None,
    occasion: str = "",
    roles: Iterable[Role] = (),
    channel: bool = False,
    to: Iterable[Person] = (),
    but: Person | None = None,
) -> None:
    """Write a message for each recipient of the event, within the caller's `audit.log.transaction()`.

    `subject` is `kind:id` as in the audit log, `link` an address of ours. Each event of a subject is sent once;
    `occasion` tells several apart, such as `3 days`. `title` and `lines` are lazy sentences (`wording.say`), so that
    each recipient has them in their language. They never hold the value of a key or a token. `roles`, `channel` and
    `to` add to the recipients that the feature names. `but` is left out, because a requester gets no message about
    their own request. So is a person with the event turned off; the database lets only voluntary ones be turned off.
    """
    log.insist()
    kind = NOTICES[event]
    persons = {person.pk: person for person in (*holding({*kind.roles, *roles}), *to)}
    if but is not None:
        persons.pop(but.pk, None)
    recipients: list[tuple[Person | None, str]] = [
        (person, person.reads) for person in persons.values() if event not in person.unwanted
    ]
    if (kind.channel or channel) and environment is not None and environment.slack:
        recipients.append((None, environment.language))
    rows = []
    for person, language in recipients:
        with translation.override(language), timezone.override(person.zone if person else None):
            rows.append(
                Notification(
                    event=event.value,
                    subject=subject,
                    occasion=occasion,
                    bundle=bundles.current(),
                    environment=environment,
                    person=person,
                    language=language,
                    title=visible(str(title))[:300],
                    lines=[visible(str(line))[:1000] for line in lines],
                    link=link,
                )
            )
    Notification.objects.bulk_create(rows, ignore_conflicts=True)


def holding(roles: Iterable[Role]) -> Iterable[Person]:
    """The persons who hold one of the roles now and have a login that is active."""
    held = Person.objects.filter(grants__role__in=list(roles), grants__revoked_at__isnull=True, logins__is_active=True)
    return held.distinct()


def send_due() -> int:
    """Queue the due messages. Return their number. `sweep` calls it, and must not wait for a service itself.

    A message waits for the other runs of its round, a quarter of an hour at most.

    If a worker has been sending a notification for too long, it waits again, with one more attempt of unknown outcome.
    """
    gone = Notification.objects.filter(
        state=State.SENDING, claimed_at__lt=Now() - timedelta(seconds=timing.MESSAGE_CLAIM)
    )
    gone.update(state=State.WAITING, unclear=F("unclear") + 1, next_at=Now(), **columns("error", NOBODY_KNOWS, 300))
    due = Notification.objects.filter(state=State.WAITING, next_at__lte=Now()).order_by("next_at", "pk")
    lately = Now() - timedelta(seconds=timing.MESSAGE_HELD)
    due = due.exclude(bundle__in=bundles.unfinished(), created_at__gt=lately)
    queued = 0
    for one in due[:BATCH]:
        with log.transaction():
            # Postponed with its bundle, so that neither this round nor the next queues it again while the queue has it.
            later = Now() + timedelta(seconds=timing.MESSAGE_CLAIM)
            bundled = Notification.objects.bundled_with(one).filter(state=State.WAITING, next_at__lte=Now())
            if bundled.update(next_at=later):
                queue.enqueue("kvops.tasks.deliver", one.pk)
                queued += 1
    return queued


def deliver(pk: int) -> None:
    """Send one notification with its bundle, if it waits to be sent, and write the outcome. Called by a worker."""
    mine = _claim(Notification.objects.get(pk=pk))
    if not mine:
        return
    try:
        _send(mine)
    except MessageTryLater as error:
        _not_now(mine, error, wait=error.retry_after)
    except Unclear as error:
        _not_now(mine, error, unclear=1)
    except (MessageRefused, credentials.UnresolvedReference) as error:
        _failed(mine, error)
    else:
        _delivered(mine)


def _claim(one: Notification) -> list[Notification]:
    """The notification and the others of its bundle that wait to be sent: one worker has them now, in order."""
    with transaction.atomic():
        waiting = Notification.objects.bundled_with(one).filter(state=State.WAITING)
        mine = list(waiting.select_for_update(skip_locked=True).values_list("pk", flat=True))
        claimed = Notification.objects.filter(pk__in=mine)
        claimed.update(state=State.SENDING, tries=F("tries") + 1, claimed_at=Now())
        return list(claimed.select_related("environment", "person").order_by("pk"))


def _send(mine: Sequence[Notification]) -> None:
    first, message = mine[0], bundles.message_of(mine)
    if first.person is not None:
        if own := NOTICES[NotificationEvent(first.event)].link:
            message = replace(message, link=own(first))
        senders.mail(message, first.person.email)
    elif first.environment is not None and first.environment.slack:
        senders.slack(message, credentials.resolve(first.environment.slack))
    else:
        raise MessageRefused(NO_CHANNEL)


def _delivered(mine: Sequence[Notification]) -> None:
    """The service took the message, so it is delivered even if another worker was to send it again."""
    with log.transaction():
        for one in mine:
            changed = Notification.objects.filter(pk=one.pk, state__in=Notification.UNDELIVERED).update(
                state=State.DELIVERED, delivered_at=Now(), **columns("error", "", 300)
            )
            if changed and (told := NOTICES[NotificationEvent(one.event)].delivered):
                told(one)


def _not_now(mine: Sequence[Notification], error: NotDelivered, *, wait: float = 0.0, unclear: int = 0) -> None:
    """Try again after ever longer waits, at least as long as the service asked for, until a day is over."""
    first = mine[0]
    if Notification.objects.filter(pk=first.pk, created_at__lt=Now() - timedelta(seconds=timing.MESSAGE_FOR)).exists():
        _failed(mine, error)
        return
    pause = max(wait, min(timing.MESSAGE_RETRY * 2 ** min(first.tries - 1, 10), timing.MESSAGE_LONGEST_RETRY))
    sent = Notification.objects.filter(pk__in=[one.pk for one in mine], state=State.SENDING)
    sent.filter(claimed_at=first.claimed_at).update(
        state=State.WAITING,
        next_at=Now() + timedelta(seconds=pause),
        unclear=F("unclear") + unclear,
        **columns("error", error, 300),
    )


def _failed(mine: Sequence[Notification], error: Exception) -> None:
    with log.transaction():
        for one in mine:
            _move(
                one, [State.SENDING], State.FAILED, Action.NOTIFICATION_FAILED, SYSTEM, **columns("error", error, 300)
            )


def try_again(mine: Notification, *, actor: log.Actor) -> None:
    """Failed -> waiting, for another day, with its bundle. Raises NotFailed."""
    again = {"tries": 0, "next_at": Now(), "created_at": Now()}
    _move_bundle(mine, State.WAITING, Action.NOTIFICATION_TRIED_AGAIN, actor, **again)


def drop(mine: Notification, *, actor: log.Actor) -> None:
    """Failed -> dropped, with its bundle: the message is not sent any more, and is no alarm. Raises NotFailed."""
    _move_bundle(mine, State.DROPPED, Action.NOTIFICATION_DROPPED, actor)


def _move_bundle(mine: Notification, to: State, action: Action, actor: log.Actor, **values: object) -> None:
    with log.transaction():
        bundled = Notification.objects.bundled_with(mine).newest_first()
        moved = sum(_move(one, [State.FAILED], to, action, actor, **values) for one in bundled)
        if not moved:
            raise NotFailed(gettext_lazy("The notification is no longer among the failed ones."))


def _move(
    mine: Notification, before: Sequence[State], to: State, action: Action, actor: log.Actor, **values: object
) -> bool:
    changed = Notification.objects.filter(pk=mine.pk, state__in=before).update(state=to, **values)
    if changed:
        log.record(
            action,
            actor=actor,
            environment=mine.environment.slug if mine.environment else "",
            subject=mine.subject,
            subject_label=mine.title,
            details={
                "notification": mine.pk,
                "event": mine.event,
                "to": mine.recipient,
                "error": str(values.get("error", mine.error)),
            },
        )
    return bool(changed)
