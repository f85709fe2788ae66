"""The alarms and next steps of scheduled clearings, for the overview."""

from collections.abc import Iterator

from django.db.models import Exists
from django.urls import reverse
from django.utils.translation import gettext as _

from backups.clearing import rules
from backups.models import Clearing, ClearingRound
from kvops.approvals import standing
from kvops.models import Person
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm
from kvops.overview.lines import MOST, Line, step


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """An alarm for each rule in force whose newest round stopped."""
    rounds = ClearingRound.objects.filter(clearing__retired_at=None).order_by("clearing", "-pk").distinct("clearing")
    for newest in rounds.select_related("run", "stage", "clearing__namespace__environment"):
        if newest.state == "stopped":
            title = _("The scheduled clearing of %(what)s stopped") % {"what": newest.clearing}
            url = reverse("backups:clearing", args=[newest.clearing_id])
            yield Alarm("danger", "clearing.stopped", title, newest.shown_reason, url, _("See details"))


def steps(_person: Person) -> Iterator[Line]:
    """The rules that no approval is asked for or in force for: they do not run."""
    without = Clearing.objects.filter(~Exists(standing.covering(rules.KIND, "clearing")), retired_at=None)
    for rule in without.select_related("namespace__environment", "family").order_by("pk")[:MOST]:
        url = reverse("backups:clearing", args=[rule.pk])
        title = _("Ask for the approval of the rule")
        yield step(rule.namespace.environment, title, str(rule), url, since=rule.made_at)
