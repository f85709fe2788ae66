"""The keys of a deletion that finished restores wrote back: how many, and by which restore."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from django.db.models import Count, Exists, OuterRef
from django.utils.translation import gettext as _, ngettext

from backups.models import CleanupEntry, CleanupException, CleanupStage, Restore, RestoreEntry
from kvops.wording import spelled

COUNTED = 10_000
"""Names. Those of a longer restore are not compared with those of the deletion; its own number is told."""
NEWEST = 10
"""Restores. Of older ones their own number is told."""


@dataclass(frozen=True)
class CameBack:
    """A restore and the deleted keys that it wrote; `keys` is None if these were not counted among all it wrote."""

    stage: CleanupStage
    restore: Restore
    keys: int | None

    @property
    def words(self) -> str:
        """The sentence."""
        figures = {"pk": self.restore.pk, "deleted": spelled(self.stage.deleted)}
        if self.keys is None:
            sentence = _("Restore %(pk)s wrote %(written)s keys, also of the %(deleted)s deleted ones")
            return sentence % {**figures, "written": spelled(self.restore.written)}
        sentence = ngettext(
            "%(keys)s of %(deleted)s deleted key came back by restore %(pk)s",
            "%(keys)s of %(deleted)s deleted keys came back by restore %(pk)s",
            self.stage.deleted,
        )
        return sentence % {**figures, "keys": spelled(self.keys)}


def of(stage: CleanupStage) -> Sequence[CameBack]:
    """The finished restores that wrote keys of the deletion back, the oldest first; its undo is one of them."""
    found = sorted(chain(*stage.written_back), key=lambda restore: restore.pk)
    done = [restore for restore in found if restore.state == Restore.State.DONE and restore.written]
    short = [restore.pk for restore in done if not restore.is_undo and restore.names <= COUNTED][-NEWEST:]
    counts = _counts(stage, short) if short else {}
    every = [(restore, restore.written if restore.is_undo else counts.get(restore.pk)) for restore in done]
    return [CameBack(stage, restore, keys) for restore, keys in every]


def _counts(stage: CleanupStage, restores: Sequence[int]) -> dict[int, int]:
    """For each restore the names of the stage that it wrote, without those that were never deleted."""
    excepted = CleanupException.objects.filter(stage=stage, index=OuterRef("index"))
    mine = CleanupEntry.objects.filter(~Exists(excepted), stage=stage, name=OuterRef("name"))
    written = RestoreEntry.objects.filter(Exists(mine), restore__in=restores, outcome=RestoreEntry.Outcome.WRITTEN)
    return dict(written.order_by().values_list("restore").annotate(found=Count("pk")))
