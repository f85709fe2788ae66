"""The groups of results that are subjects of the audit log, and the function that finds the rows of each kind."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, pgettext_lazy


@dataclass(frozen=True)
class SearchGroup:
    """Results under one heading: the kinds of subjects in it, each with the function that finds its rows, by name.

    The function takes a `SearchText` and the number of rows, and gives what `matching.shown` gives. Titles and
    addresses come from `kvops.operations`.
    """

    title: Promise
    kinds: Mapping[str, str]


GROUPS = (
    SearchGroup(
        pgettext_lazy("search", "Requests"),
        {
            "approval": "kvops.search.matching.approvals",
            "cleanup": "backups.frame.search.cleanups",
            "restore": "backups.frame.search.restores",
            "keychange": "backups.frame.search.changes",
            "bulkchange": "backups.frame.search.bulk_changes",
            "prune": "backups.frame.search.prunes",
            "investigation": "backups.frame.search.investigations",
        },
    ),
    SearchGroup(_("Backups"), {"generation": "backups.frame.search.backups"}),
    SearchGroup(_("Runs"), {"run": "kvops.search.matching.runs"}),
    SearchGroup(_("People"), {"person": "kvops.search.matching.people"}),
)
"""Everything is named by strings, so that `kvops` does not import the app above it. A system check resolves each."""

DELETED_KEYS = "backups.frame.search.deleted_keys"
"""The function that finds deleted keys: the primary key of the namespace and the name of each."""


def functions() -> list[str]:
    """The functions that are named here."""
    return [DELETED_KEYS, *(function for group in GROUPS for function in group.kinds.values())]
