"""A person's explanation of an object in a bucket: it silences the alarm; the row and the audit log stay.

The note falls when the object's status or content changes.
"""

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.models import StoredObject
from kvops.models import Environment, Person, Role
from kvops.refusals import Refused
from kvops.wording import insist_explained

MOST = 10_000
"""Objects. One click notes at most this many, because one row is locked for each."""
NAMED = 20
"""Objects. The audit log names at most this many of a note's objects."""


class NoteRefused(Refused):
    """No note was made; the message gives the reason and the next step."""


def note_objects(found: QuerySet[StoredObject], environment: Environment, *, text: str, by: Person) -> int:
    """Add a note to at most `MOST` of the objects in the order of their names; return their number. Raises NoteRefused.

    Only objects that need a look get a note: an unchanged part of a backup needs no explanation.
    """
    with log.transaction():
        if not (by.holds(Role.OPERATOR) or by.holds(Role.REVIEWER)):
            raise NoteRefused(_("Only an operator or a reviewer can note this."))
        insist_explained(text, NoteRefused, _("Describe the objects and your findings."))
        mine = found.filter(environment=environment).exclude(status=StoredObject.Status.KNOWN).order_by("key")
        keys = dict(mine.select_for_update(of=("self",)).values_list("pk", "key")[:MOST])
        if not keys:
            raise NoteRefused(_("None of these objects needs a note any more. Load the page again."))
        StoredObject.objects.filter(pk__in=keys).update(note=text.strip(), noted_by=by, noted_at=Now())
        log.record(
            Action.OBJECTS_NOTED,
            actor=by.actor,
            environment=environment.slug,
            subject=f"object:{next(iter(keys))}" if len(keys) == 1 else f"environment:{environment.slug}",
            subject_label=next(iter(keys.values()))[:200] if len(keys) == 1 else environment.r2_bucket,
            details={
                "note": text.strip()[:500],
                "objects": len(keys),
                "names": [k[:200] for k in keys.values()][:NAMED],
            },
        )
    return len(keys)
