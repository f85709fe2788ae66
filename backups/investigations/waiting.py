"""The alarms and next steps of investigations, for the overview."""

from collections.abc import Iterator

from django.db.models import Exists
from django.urls import reverse
from django.utils.translation import gettext as _, ngettext

from backups.investigations import requests as investigation_requests
from backups.models import Investigation
from kvops.approvals import standing
from kvops.models import Person
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm, first_of
from kvops.overview.lines import MOST, Line, step


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """One alarm for all investigations whose backup still exists an hour after their end."""
    late = list(investigation_requests.past_their_end())
    if late:
        title = ngettext(
            "The backup of %(n)s investigation should have been deleted",
            "The backups of %(n)s investigations should have been deleted",
            len(late),
        ) % {"n": len(late)}
        text, since = first_of([one.title for one in late]), min(one.ends_at for one in late)
        url = reverse("backups:investigations")
        yield Alarm("warning", "investigation.past_end", title, text, url, _("See details"), since)


def steps(_person: Person) -> Iterator[Line]:
    """The investigations whose backup nobody may delete at their end: no approval is asked for or in force."""
    covered = Exists(standing.covering(investigation_requests.KIND, "investigation"))
    without = Investigation.objects.there().filter(~covered)
    for one in without.select_related("environment").order_by("pk")[:MOST]:
        url = reverse("backups:investigation", args=[one.pk])
        title = _("Ask for the approval to delete its backup")
        yield step(one.environment, title, one.title, url, since=one.created_at)
