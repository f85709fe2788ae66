"""The alarm about a policy that nobody approved, for the overview and the page of the policy."""

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext as _

from backups import policy
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """An alarm if families or datasets in the database are not as approved."""
    if sentence := policy.why_edited():
        title, address = _("The policy was changed without an approval"), reverse("categories")
        yield Alarm("danger", "policy.edited", title, str(sentence), address, _("See details"))
