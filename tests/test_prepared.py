"""A state that is put back is the one the product built; where it could be another one, it is built again."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kvops import timing
from kvops.models import Person
from tests import make, prepared
from tests.gate import world as gate
from tests.gate.world import GateWorld
from tests.prepared import Prepared

pytestmark = pytest.mark.django_db(transaction=True)  # for a test that begins within the test


class Steps:
    """A clean-up up to its deletion, in two steps, and how often each of them was built."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def world(self) -> GateWorld:
        self.built.append("world")
        return gate.world()

    def play(self, steps: Prepared) -> GateWorld:
        """Both steps."""
        world = steps.step("a world", self.world)
        steps.step("a deletion", lambda: self.started(world))
        return world

    def started(self, world: GateWorld) -> object:
        self.built.append("deletion")
        return gate.started(world, gate.asked(world))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Nothing is kept yet."""
    monkeypatch.setattr(Prepared, "_process", 0)
    return Steps()


@contextmanager
def another_test() -> Iterator[Prepared]:
    """The steps of a test, whose rows are gone after it."""
    with gate.undone(), prepared.preparing() as found:
        yield found


def without_ids(rows: prepared.Rows) -> dict[str, list[str]]:
    """The rows without numbers, times and digests, and without what is drawn by lot for a login or a task."""
    drawn = re.compile(r"md5\$[^,]+|[0-9a-f]*\d[0-9a-f]*")
    found = {table: sorted(drawn.sub("#", row) for row in found) for table, found in rows.items()}
    return found | {"django_q_ormq": ["a task"] * len(found["django_q_ormq"])}


def test_what_is_put_back_is_exactly_what_was_built(steps: Steps) -> None:
    found = []
    for _ in range(2):
        with another_test() as one:
            found.append((steps.play(one), prepared.all_rows()))
    assert steps.built == ["world", "deletion"]
    assert found[0] == found[1]


def test_and_what_is_built_once_more_differs_in_ids_times_and_digests_only(steps: Steps) -> None:
    with another_test() as one:
        steps.play(one)
    with another_test() as one:
        steps.play(one)
        put_back = prepared.all_rows()
    with gate.undone():
        steps.started(steps.world())
        assert without_ids(prepared.all_rows()) == without_ids(put_back)


def test_the_next_row_has_an_id_that_is_free(steps: Steps) -> None:
    for _ in range(2):
        with another_test() as one:
            steps.play(one)
            taken = set(Person.objects.values_list("pk", flat=True))
            assert make.person("another").pk not in taken


@pytest.mark.parametrize("at", ["before", "between"])
def test_what_the_test_wrote_itself_is_built_upon(steps: Steps, at: str) -> None:
    with another_test() as one:
        steps.play(one)
    with gate.undone():
        if at == "before":
            make.person("somebody")
        with prepared.preparing() as one:
            world = one.step("a world", steps.world)
            if at == "between":
                make.person("somebody")
            one.step("a deletion", lambda: steps.started(world))
    assert steps.built == ["world", "deletion", *(["world"] if at == "before" else []), "deletion"]


def test_an_old_state_is_built_again(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "LASTS", 0.0)
    for _ in range(2):
        with another_test() as one:
            steps.play(one)
    assert steps.built == ["world", "deletion"] * 2


def test_another_duration_is_another_state(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in (60.0, 61.0, 60.0):
        monkeypatch.setattr(timing, "USE_WITHIN", seconds * 3600)
        with another_test() as one:
            steps.play(one)
    assert steps.built == ["world", "deletion"] * 2


@pytest.mark.django_db
def test_no_fixture_that_every_test_has_keeps_it_from_a_state(prepared: Prepared) -> None:
    assert prepared._changed() == ()


def test_a_test_that_commits_builds_for_itself(steps: Steps) -> None:
    with prepared.preparing() as one:
        one.step("a world", steps.world)
        one.step("nothing", lambda: steps.built.append("nothing"))
    with prepared.preparing() as one:
        one.step("nothing", lambda: steps.built.append("nothing"))
    assert steps.built == ["world", "nothing", "nothing"]


def test_from_where_the_product_is_broken_each_step_is_built(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    with another_test() as one:
        steps.play(one)
    with another_test() as one:
        world = one.step("a world", steps.world)
        monkeypatch.setattr(Prepared, "used", False)
        one.step("a deletion", lambda: steps.started(world))
    assert steps.built == ["world", "deletion", "deletion"]
