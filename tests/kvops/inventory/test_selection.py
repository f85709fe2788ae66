"""Keys chosen by what one listing shows."""

import pytest

from kvops.inventory.selection import Selection, SelectionRefused

NOW = 1_800_000_000.0
DAY = 24 * 3600
CHOSEN: dict[str, tuple[Selection, int | None, str | None]] = {
    "everything": (Selection(), 1, None),
    "no expiration": (Selection(without_expiration=True), None, None),
    "a text": (Selection(member="v", equals="a"), None, '{"v": "a"}'),
    "a number": (Selection(member="v", equals="2"), None, '{"v": 2}'),
    "a number as a text": (Selection(member="v", equals="2"), None, '{"v": "2"}'),
    "a truth": (Selection(member="v", equals="true"), None, '{"v": true}'),
    "seconds": (Selection(member="at", older_hours=24), 1, f'{{"at": {NOW - DAY}}}'),
    "milliseconds": (Selection(member="at", older_hours=24), 1, f'{{"at": {int(NOW - DAY) * 1000}}}'),
    "a date": (Selection(member="at", older_hours=24), 1, '{"at": "2026-12-31"}'),
    "a moment with a zone": (Selection(member="at", older_hours=24), 1, '{"at": "2027-01-14T17:00:00+09:00"}'),
    "both": (Selection(without_expiration=True, member="v", equals="a"), None, '{"v": "a"}'),
}
LEFT: dict[str, tuple[Selection, int | None, str | None]] = {
    "an expiration": (Selection(without_expiration=True), 0, None),
    "no metadata": (Selection(member="v", equals="a"), None, None),
    "another text": (Selection(member="v", equals="a"), None, '{"v": "b"}'),
    "no such member": (Selection(member="v", equals="a"), None, '{"w": "a"}'),
    "null": (Selection(member="v", equals="null"), None, '{"v": null}'),
    "no object": (Selection(member="v", equals="a"), None, '["v"]'),
    "no JSON": (Selection(member="v", equals="a"), None, "{v: a}"),
    "too young": (Selection(member="at", older_hours=24), None, f'{{"at": {NOW - DAY + 1}}}'),
    "no time": (Selection(member="at", older_hours=1), None, '{"at": "yesterday"}'),
    "a truth is no time": (Selection(member="at", older_hours=1), None, '{"at": true}'),
    "a version is no time": (Selection(member="v", older_hours=1), None, '{"v": 3}'),
    "a negative number is no time": (Selection(member="v", older_hours=1), None, '{"v": -1e400}'),
    "milliseconds of the seventies": (Selection(member="v", older_hours=1), None, '{"v": 100000000001}'),
    "a number without end": (Selection(member="at", older_hours=1), None, f'{{"at": 1{"0" * 400}}}'),
    "a text of digits": (Selection(member="at", older_hours=1), None, '{"at": "20250101"}'),
    "a list is no time": (Selection(member="at", older_hours=1), None, '{"at": [0]}'),
    "only one of both": (Selection(without_expiration=True, member="v", equals="a"), 5, '{"v": "a"}'),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_a_key_that_meets_every_condition_is_chosen(name: str) -> None:
    selection, expiration, metadata = CHOSEN[name]
    assert selection.takes(expiration, metadata, NOW)


@pytest.mark.parametrize("name", LEFT)
def test_any_other_key_is_left(name: str) -> None:
    selection, expiration, metadata = LEFT[name]
    assert not selection.takes(expiration, metadata, NOW)


def test_a_selection_is_stored_by_its_conditions_only() -> None:
    selection = Selection(without_expiration=True, member="at", older_hours=72)
    assert selection.as_data() == {"without_expiration": True, "member": "at", "older_hours": 72}
    assert Selection.of(selection.as_data()) == selection
    assert Selection().as_data() == {}


def test_a_condition_of_another_version_is_no_selection() -> None:
    with pytest.raises(TypeError, match="smaller_than"):
        Selection.of({"smaller_than": 3})


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        (Selection(member="v"), "not both"),
        (Selection(member="v", equals="a", older_hours=1), "not both"),
        (Selection(equals="a"), "Name the member"),
        (Selection(older_hours=1), "Name the member"),
        (Selection(member="v", older_hours=-1), "1 to 87600 hours"),
        (Selection(member="v", older_hours=87_601), "1 to 87600 hours"),
    ],
)
def test_a_selection_that_contradicts_itself_is_refused(selection: Selection, sentence: str) -> None:
    with pytest.raises(SelectionRefused, match=sentence):
        selection.insist_clear()
