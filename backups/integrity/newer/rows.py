"""The only differences that a reviewer may accept: rows that were changed in D1 after the move (policy 1a, 4b).

Both the cause and a new export from D1 must be younger than a check that found these rows. Any other difference, one
that is not kept by name, another row, and another rule of the dataset make it void.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from operator import attrgetter

from django.utils.translation import gettext, gettext_lazy as _, ngettext

from audit.chain import JSON
from backups.integrity.d1_rows import SEPARATOR, Place
from backups.models import Check, DifferenceCase, Generation
from kvops.approvals import evidence
from kvops.approvals.risks import NEWER
from kvops.models import ApprovalRequest
from kvops.wording import say, spelled

FIRST = 3
"""The rows that the evidence shows."""
MOST_FIELDS = 10
FROM_D1 = "d1"


@dataclass(frozen=True, slots=True)
class Grounds:
    """The stated cause, and the verified backup of master data that was read from D1 after the rows were found."""

    cause: DifferenceCase
    export: Generation


def only_newer(check: Check) -> bool:
    """Whether every difference of a failed check is of a row that is newer in D1, and is kept by name."""
    if check.outcome != Check.Outcome.FAILED or not 0 < check.differences == check.newer:
        return False
    return check.found.count() == check.differences and not check.found.filter(newer_at=None).exists()


def places(check: Check) -> set[Place]:
    """The rows that the check found to differ."""
    return set(check.found.values_list("name", "row"))


def digest_of(check: Check) -> str:
    """SHA-256 of these rows, in hex."""
    lines = sorted(f"{name}{SEPARATOR}{row}\n" for name, row in places(check))
    return sha256("".join(lines).encode()).hexdigest()


def stated_cause(check: Check, since: datetime | None) -> DifferenceCase | None:
    """The first case of the check's dataset and environment that was closed as accepted since then."""
    if since is None:
        return None
    found = DifferenceCase.objects.about(check).filter(outcome=DifferenceCase.Outcome.ACCEPTED, closed_at__gte=since)
    return found.select_related("closed_by").order_by("pk").first()


def grounds_of(check: Check) -> Grounds | None:
    """The cause and the export; None if one of them is lacking. The first ones count, so that evidence stays."""
    since = _first_seen(check)
    cause, export = stated_cause(check, since), _export(check, since)
    return Grounds(cause, export) if cause and export else None


def _first_seen(check: Check) -> datetime | None:
    """The time when an earlier check of the same backup, under the same rule, had found all of these rows."""
    mine = places(check)
    earlier = Check.objects.filter(
        generation=check.generation_id,
        generation__isnull=False,
        definition_digest=check.definition_digest,
        outcome=Check.Outcome.FAILED,
        pk__lt=check.pk,
    )
    return next((one.finished_at for one in earlier.order_by("pk") if mine <= places(one)), None)


def _export(check: Check, since: datetime | None) -> Generation | None:
    """The first verified backup of the rows that began since then: it holds D1 as it was read then."""
    if since is None:
        return None
    masters = Generation.objects.verified().here().filter(purpose=Generation.Purpose.MASTERS, source=FROM_D1)
    found = masters.filter(environment=check.environment_id, tables__contains=[{"dataset": check.dataset.name}])
    return found.filter(started_at__gte=since).order_by("pk").first()


def why_not(check: Check) -> str:
    """The sentence that names the step before the reviewer; empty if none is left.

    It is for a check of which `only_newer` is true.
    """
    if grounds_of(check) is not None:
        return ""
    rows = len(places(check))
    if stated_cause(check, _first_seen(check)) is None:
        sentence = _(
            "All differences are rows that are newer in D1: %(rows)s. State the cause on the page of the check, with "
            "the outcome “accepted as it is”. Then export the master data from D1 again, and check again."
        )
    else:
        sentence = _(
            "The cause of the rows that are newer in D1 is stated: %(rows)s. Export the master data from D1 again. "
            "When that backup is verified, check again."
        )
    return say(sentence, rows=spelled(rows))


def shown(check: Check) -> dict[str, JSON]:
    """The part of the evidence: the rows that the reviewer accepts, the cause and the export; empty if it passed."""
    if check.outcome == Check.Outcome.PASSED and not check.newer:
        return {}
    grounds = grounds_of(check)
    return {
        "rows": len(places(check)),
        "sha256": digest_of(check),
        "only_newer": only_newer(check),
        "moved": {"at": str(check.definition.get("migrated_at", {}).get(check.environment.slug, ""))},
        "cause": grounds.cause.reason if grounds else "",
        "by": str(grounds.cause.closed_by) if grounds else "",
        "case": grounds.cause.pk if grounds else None,
        "export": grounds.export.pk if grounds else None,
        "export_manifest": grounds.export.manifest_sha256 if grounds else "",
        "first": list(_first(check)),
    }


def _first(check: Check) -> Sequence[JSON]:
    """The first rows, each with a difference of it and the fields that differ."""
    first = sorted(places(check))[:FIRST]
    found = check.found.filter(name__in=[name for name, _row in first]).order_by("name", "row", "field", "pk")
    rows: list[JSON] = []
    for place, differences in groupby(found, attrgetter("name", "row")):
        one, *more = differences
        if place in first:
            rows.append(
                {
                    "id": one.pk,
                    "name": one.name,
                    "row": one.row,
                    "fields": [each.field for each in (one, *more) if each.field][:MOST_FIELDS],
                    "at": evidence.moment(one.newer_at),
                }
            )
    return rows


def accepted_by(approval: ApprovalRequest | None, check: Check | None) -> Check | None:
    """The check whose rows the reviewer accepted by name; None if there is none, or if its rows are others now."""
    if approval is None or check is None or NEWER not in approval.accepted:
        return None
    approved = json.loads(approval.evidence)["check"]
    same = approved["id"] == check.pk and approved["newer"]["sha256"] == digest_of(check)
    return check if same else None


def agrees(check: Check, accepted: Check | None) -> bool:
    """Whether the check passed, or found only rows that are newer in D1 and that the `accepted` check named."""
    if check.outcome == Check.Outcome.PASSED:
        return True
    if accepted is None or not (only_newer(check) and only_newer(accepted)):
        return False
    return check.definition_digest == accepted.definition_digest and places(check) <= places(accepted)


def in_words(check: Check) -> str:
    """The result of a check that lets a clean-up go on."""
    figures = {"keys": spelled(check.keys), "rows": spelled(check.rows)}
    if check.outcome == Check.Outcome.PASSED:
        return gettext("No difference. Keys: %(keys)s, rows: %(rows)s") % figures
    n = len(places(check))
    sentence = ngettext(
        "%(n)s row is newer in D1, nothing else differs. Keys: %(keys)s, rows: %(rows)s",
        "%(n)s rows are newer in D1, nothing else differs. Keys: %(keys)s, rows: %(rows)s",
        n,
    )
    return sentence % {**figures, "n": spelled(n)}


def grounds_in_words(newer: Mapping[str, str]) -> str:
    """The stated cause and the new export, from the evidence that a reviewer approved."""
    sentence = gettext("Cause, stated by %(by)s: %(cause)s. New export from D1: backup %(export)s.")
    return sentence % {"by": newer["by"], "cause": newer["cause"].rstrip(".。"), "export": newer["export"]}
