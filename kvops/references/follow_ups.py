"""Follow-ups: changes of the code that an answer to a hit promises, with an owner and a due date.

Only a later search without such a hit closes one (`kvops.references.store`). A newer answer to the same hit replaces it
in the lists.
"""

from datetime import date

from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from audit import log
from kvops import clock
from kvops.models import Environment, NotificationEvent, Person, ReferenceAnswer
from kvops.notifications import outbox
from kvops.schedules.jobs import Begun
from kvops.wording import say


def today() -> date:
    """The day in the team's time zone, by the database's clock."""
    return timezone.localtime(clock.now()).date()


def still_open() -> QuerySet[ReferenceAnswer]:
    """The open follow-ups that no newer answer replaced, the first due first."""
    newer = ReferenceAnswer.objects.filter(
        family=OuterRef("family"), fingerprint=OuterRef("fingerprint"), pk__gt=OuterRef("pk")
    )
    found = ReferenceAnswer.objects.filter(~Exists(newer), kind=ReferenceAnswer.Kind.FOLLOW_UP, closed_by=None)
    return found.select_related("family", "owner", "by", "hit__search__environment").order_by("due", "pk")


def overdue() -> QuerySet[ReferenceAnswer]:
    """The open follow-ups whose due date is past."""
    return still_open().filter(due__lt=today())


def owned_by(person: Person) -> QuerySet[ReferenceAnswer]:
    """The open follow-ups of a person."""
    return still_open().filter(owner=person)


def in_time(environment: Environment, _actor: log.Actor) -> Begun:
    """Notify owner, operators and channel of each overdue follow-up of the environment: once a day."""
    for answer in overdue().filter(hit__search__environment=environment):
        outbox.post(
            NotificationEvent.FOLLOW_UP_OVERDUE,
            subject=f"search:{answer.hit.search_id}",
            occasion=f"follow-up {answer.pk} on {today()}",
            environment=environment,
            title=say(
                _("Overdue since %(due)s: %(what)s, %(place)s"),
                due=answer.due,
                what=answer.get_follow_up_display(),
                place=answer.hit,
            ),
            lines=[
                f"{answer.family.binding} {answer.family}",
                say(_("Owner: %(owner)s"), owner=answer.owner.name if answer.owner else ""),
                say(_("A search of the changed code closes it.")),
            ],
            link=reverse("reference-follow-ups"),
            to=[answer.owner] if answer.owner else [],
        )
    return Begun()
