"""The table's part about comparisons of copies."""

from django.db.models.functions import Now

from backups.models import Contrast, ContrastEntry
from tests.constraints.copies import BackupsWorld
from tests.constraints.estate import change
from tests.constraints.restores_rows import restore
from tests.constraints.rows import RowAttempt


def contrast(w: BackupsWorld, **values: object) -> Contrast:
    """A comparison that is under way."""
    made = {"generation": w.generation(), "namespace": w.namespace, "run": w.run(), "actor": "x"}
    return Contrast.objects.create(**{**made, **values})


def with_itself(w: BackupsWorld) -> None:
    """A copy against itself."""
    generation = w.generation()
    contrast(w, generation=generation, other=generation)


def twice(w: BackupsWorld) -> None:
    """The same two copies once more."""
    two = {"generation": w.generation(), "other": w.generation()}
    contrast(w, **two)
    contrast(w, **two)


def a_name_twice(w: BackupsWorld) -> None:
    """A name that differs in two ways."""
    made = contrast(w)
    for kind in ("added", "removed"):
        ContrastEntry.objects.create(contrast=made, name="a", kind=kind)


CONTRASTS = [
    RowAttempt("contrast_with_another_copy", with_itself),
    RowAttempt("contrast_of_two_copies_once", twice),
    RowAttempt("contrast_of_a_restore_is_with_kv", lambda w: contrast(w, restore=restore(w), other=w.generation())),
    RowAttempt("contrast_finished_has_counts", lambda w: change(contrast(w), finished_at=Now()), "no counts"),
    RowAttempt("contrast_finished_has_counts", lambda w: change(contrast(w), found={"added": 1}), "not finished"),
    RowAttempt("contrast_name_once", a_name_twice),
    RowAttempt("backups_contrast_run_id_key", lambda w: contrast(w, run=contrast(w).run)),
]
