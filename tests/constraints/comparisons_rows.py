"""The table's part about comparisons of backups."""

from django.db.models.functions import Now

from backups.models import Comparison, ComparisonEntry
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import change
from tests.constraints.restores_rows import restore
from tests.constraints.rows import RowAttempt


def comparison(w: BackupsWorld, **values: object) -> Comparison:
    """A comparison that is under way."""
    made = {"generation": w.generation(), "namespace": w.namespace, "run": w.run(), "actor": "x"}
    return Comparison.objects.create(**{**made, **values})


def with_itself(w: BackupsWorld) -> None:
    """A backup against itself."""
    generation = w.generation()
    comparison(w, generation=generation, other=generation)


def twice(w: BackupsWorld) -> None:
    """The same two backups once more."""
    two = {"generation": w.generation(), "other": w.generation()}
    comparison(w, **two)
    comparison(w, **two)


def a_name_twice(w: BackupsWorld) -> None:
    """A name that differs in two ways."""
    made = comparison(w)
    for kind in ("added", "removed"):
        ComparisonEntry.objects.create(comparison=made, name="a", kind=kind)


COMPARISONS = [
    RowAttempt("comparison_with_another_backup", with_itself),
    RowAttempt("comparison_of_two_backups_once", twice),
    RowAttempt("comparison_of_a_restore_is_with_kv", lambda w: comparison(w, restore=restore(w), other=w.generation())),
    RowAttempt("comparison_finished_has_counts", lambda w: change(comparison(w), finished_at=Now()), "no counts"),
    RowAttempt("comparison_finished_has_counts", lambda w: change(comparison(w), found={"added": 1}), "not finished"),
    RowAttempt("comparison_name_once", a_name_twice),
    RowAttempt("backups_comparison_run_id_key", lambda w: comparison(w, run=comparison(w).run)),
]
