"""The names of a stage by sub-prefix, and how far a deletion has come in each."""

import pytest

from backups.cleanup import preparation
from backups.cleanup.pages import groups
from backups.cleanup.pages.groups import NameGroup, groups_of
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops import timing
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers

pytestmark = pytest.mark.django_db
NAMES = ("mastercache:a:1", "mastercache:a:2", "mastercache:a:", "mastercache:b", "mastercache:日:1", "mastercache:a;1")


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


def frozen(estate: make.Estate, people: make.People, *names: str) -> CleanupStage:
    """A stage with these names fixed."""
    for name in names:
        estate.put(estate.qa, name)
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people, "mastercache:"))
    preparation.freeze_stage(stage, by=people.operator)
    return cleanup_helpers.stage_of(stage.request)


def numbers(stage: CleanupStage) -> dict[str, int]:
    return {group.prefix: group.names for group in groups_of(stage)}


def test_each_sub_prefix_has_its_names_and_the_others_stand_at_the_end(
    estate: make.Estate, people: make.People
) -> None:
    assert numbers(frozen(estate, people, *NAMES)) == {"mastercache:a:": 3, "mastercache:日:": 1, "": 2}


def test_names_of_further_sub_prefixes_stand_in_one_line(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MOST", 2)
    stage = frozen(estate, people, "mastercache:a:1", "mastercache:b:1", "mastercache:b:2", "mastercache:c:1")
    assert numbers(stage) == {"mastercache:a:": 1, "mastercache:b:": 2, "": 1}


def test_a_stage_without_names_has_no_groups(estate: make.Estate, people: make.People) -> None:
    assert groups_of(frozen(estate, people)) == []


def test_the_groups_say_what_is_gone_kept_and_still_there(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    run = cleanup_helpers.started(request, people)
    run_driver.request_stop(run, actor=make.SETUP)
    make.work()
    stage = cleanup_helpers.stage_of(request)
    assert groups_of(stage) == [NameGroup("master:a:", 2, 0, 0), NameGroup("master:b:", 1, 0, 0)]
    chunk = CleanupChunk.objects.create(stage=stage, number=1, first_index=0, last_index=1)
    for state in ("intended", "sent"):
        CleanupChunk.objects.filter(pk=chunk.pk).update(state=state, names=1, names_sha256="a" * 64)
    CleanupException.objects.create(stage=stage, chunk=chunk, index=1, name="master:a:2", outcome="changed")
    assert groups_of(stage) == [NameGroup("master:a:", 2, 1, 1), NameGroup("master:b:", 1, 0, 0)]
    assert [group.left for group in groups_of(stage)] == [0, 1]
