"""The table's part about changes outside KVOps: searches, the keys they found, and comparisons of one setting."""

from django.db.models.functions import Now

from backups.models import OutsideChange, OutsideSearch, SettingComparison
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import again, change
from tests.constraints.rows import EPOCH, RowAttempt, columns

EDITED = "the result of a search for changes outside KVOps cannot be edited"
KEPT = "a key that changed outside KVOps is never deleted or edited"
FROZEN: dict[str, object] = {
    "id": 0,
    "generation_id": 0,
    "earlier_id": 0,
    "namespace_id": 0,
    "outcome": "first",
    "reason": "a partial backup",
    "at": EPOCH,
    "changed": 9,
    "new": 9,
    "gone": 9,
    "explained": 9,
    "listed": 9,
}
MOVED = {"acknowledged_by_id", "acknowledged_at", "acknowledged_note"}


def search(w: BackupsWorld, **values: object) -> OutsideSearch:
    """A search that compared two backups."""
    made = {"generation": w.generation(), "earlier": w.generation(), "namespace": w.namespace, "outcome": "compared"}
    return OutsideSearch.objects.create(**{**made, **values})


def with_itself(w: BackupsWorld) -> None:
    """A backup against itself."""
    generation = w.generation()
    search(w, generation=generation, earlier=generation)


def explained(w: BackupsWorld) -> OutsideSearch:
    """A search whose changes a person explained."""
    found = search(w, changed=1)
    change(found, acknowledged_by=w.operator, acknowledged_at=Now(), acknowledged_note="x")
    return found


def found_key(w: BackupsWorld) -> OutsideChange:
    """A key that a search found."""
    return OutsideChange.objects.create(search=search(w), name="a", kind="changed", category="settings")


def comparison(w: BackupsWorld, **values: object) -> SettingComparison:
    """A comparison of one setting that is under way."""
    made = {"namespace": w.namespace, "name": "a", "generation": w.generation(), "run": w.run()}
    return SettingComparison.objects.create(**{**made, "asked_by": w.operator, **values})


OUTSIDE = [
    RowAttempt("outside_compared_with_an_earlier_backup", lambda w: search(w, earlier=None)),
    RowAttempt("outside_not_comparable_says_why", lambda w: search(w, outcome="not_comparable"), "no reason"),
    RowAttempt("outside_not_comparable_says_why", lambda w: search(w, reason="a partial backup"), "comparable"),
    RowAttempt("outside_found_by_comparing", lambda w: search(w, outcome="first", changed=1)),
    RowAttempt("outside_not_with_itself", with_itself),
    RowAttempt("outside_acknowledged_with_a_note", lambda w: change(search(w), acknowledged_note="x"), "nobody"),
    RowAttempt("outside_acknowledged_with_a_note", lambda w: change(search(w), acknowledged_at=Now()), "no note"),
    RowAttempt(
        "backups_outsidesearch_generation_id_key", lambda w: search(w, generation=search(w).generation), "twice"
    ),
    *columns(EDITED, search, FROZEN),
    RowAttempt(EDITED, lambda w: change(explained(w), acknowledged_note="another"), "explained again"),
    RowAttempt(
        "a search for changes outside KVOps is never deleted",
        lambda w: OutsideSearch.objects.filter(pk=search(w).pk)._raw_delete("default"),
    ),
    RowAttempt("outside_change_once_per_search", lambda w: again(found_key(w))),
    RowAttempt(KEPT, lambda w: change(found_key(w), name="b"), "edited"),
    RowAttempt(KEPT, lambda w: found_key(w).delete(), "deleted"),
    RowAttempt("settingcomparison_finished_has_a_result", lambda w: comparison(w, result="same"), "no time"),
    RowAttempt("settingcomparison_finished_has_a_result", lambda w: comparison(w, finished_at=Now()), "no result"),
    RowAttempt(
        "settingcomparison_explains_a_difference",
        lambda w: comparison(w, result="same", finished_at=Now(), explained=True),
    ),
    RowAttempt(
        "backups_settingcomparison_run_id_key", lambda w: comparison(w, run=comparison(w).run), "one run for two"
    ),
]
