"""Listings of a stage's prefix: which of its names are still listed, and which other keys are there."""

from collections.abc import Mapping, Sequence

from django.utils.translation import gettext_lazy as _

from backups.models import CleanupException, CleanupStage, OtherName
from kvops import clock
from kvops.cloudflare import KeyPage
from kvops.names import storable
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, RunError
from kvops.wording import say

MAX_RESTARTS = 5
"""Restarts of a listing, before the run fails."""
OTHERS_KEPT = 1_000
"""Names. The most that a stage keeps of the keys that are not of its clean-up; all of them are counted."""


def list_again(lease: Lease, cursor: Mapping[str, object]) -> Again:
    """Start a listing again after its cursor was refused. Raises RunError after too many restarts."""
    restarts = lease.run.cursor.get("restarts", 0) + 1
    over = restarts > MAX_RESTARTS  # if a person resumes the run, the count begins at zero again
    with lease.checkpoint(cursor={**cursor, "restarts": 0 if over else restarts}):
        pass
    if over:
        sentence = _("The listing had to start again %(restarts)s times. Try again later.")
        raise RunError("listing", say(sentence, restarts=MAX_RESTARTS))
    return Again()


def sent_among(stage: CleanupStage, page: KeyPage) -> list[int]:
    """Indexes of listed names that should be absent: frozen names without an exception."""
    listed = stage.entries.filter(name__in=[key.name for key in page.keys if storable(key.name)])
    return list(
        listed.exclude(index__in=stage.exceptions.values("index")).order_by("index").values_list("index", flat=True)
    )


def deleted_and_not(stage: CleanupStage) -> dict[str, int]:
    """The numbers of deleted and of remaining names, according to the exceptions."""
    skipped = stage.exceptions.count()
    return {"deleted": stage.names - skipped, "skipped": skipped}


def others_among(stage: CleanupStage, page: KeyPage) -> Sequence[str]:
    """The listed names under the prefix that are not of the clean-up. A clean-up of one key has no prefix.

    A name that was gone before its deletion and is listed again is a new key. Keys that the clean-up does not choose
    are left on purpose, so they are not among them.
    """
    if stage.request.exact:
        return []
    listed = stage.entries.filter(name__in=[key.name for key in page.keys if storable(key.name)])
    gone = stage.exceptions.exclude(outcome__in=CleanupException.LEFTOVERS)
    known = set(listed.exclude(index__in=gone.values("index")).values_list("name", flat=True))
    only, now = stage.request.selection, clock.now().timestamp()
    return [key.name for key in page.keys if key.name not in known and only.takes(key.expiration, key.metadata, now)]


def keep_others(stage: CleanupStage, names: Sequence[str], *, before: int, first_page: bool) -> None:
    """Keep the first names of a listing, within the caller's checkpoint. A new listing replaces those of the last one.

    `before` is the number of such names on earlier pages.
    """
    if first_page:
        stage.other_names.all().delete()
    kept = [OtherName(stage=stage, name=name) for name in names if storable(name)][: max(0, OTHERS_KEPT - before)]
    OtherName.objects.bulk_create(kept, ignore_conflicts=True)
