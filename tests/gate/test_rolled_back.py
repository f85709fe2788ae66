"""Before a deletion sends: the record in the bucket, and the clocks, say nothing against it."""

from types import SimpleNamespace

import pytest

from backups.bucket import newest_manifest
from backups.bucket.store import StoreUnavailable
from backups.deletion import run as deletion_run
from kvops import rollback, timing
from kvops.connections import skew
from kvops.models import Environment, Skew
from kvops.runs.outcomes import RunError, Stopped, TryLater

pytestmark = pytest.mark.django_db


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Environment]:
    """The environments whose buckets were looked into; no process has looked yet, and the clocks agree."""
    found: list[Environment] = []
    monkeypatch.setattr(newest_manifest, "_looked", {})
    monkeypatch.setattr(newest_manifest, "compare_newest_manifest", found.append)
    return found


def looked_ago(mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """This process looked into the bucket so long ago."""
    monkeypatch.setattr(newest_manifest, "time", SimpleNamespace(monotonic=lambda: 1_000.0))
    newest_manifest._looked[newest_manifest._key(mine.stage.environment)] = 1_000.0 - seconds


@pytest.mark.hazard("B32")
def test_a_process_that_never_looked_into_the_bucket_does(
    mine: deletion_run._Deletion, reads: list[Environment]
) -> None:
    newest_manifest.insist_none(mine.stage.environment)
    assert reads == [mine.stage.environment]


@pytest.mark.parametrize(("later", "again"), [(-1.0, False), (0.0, False), (1.0, True)])
def test_it_looks_again_after_a_while(
    mine: deletion_run._Deletion,
    monkeypatch: pytest.MonkeyPatch,
    reads: list[Environment],
    later: float,
    *,
    again: bool,
) -> None:
    looked_ago(mine, monkeypatch, timing.LOOK + later)
    newest_manifest.insist_none(mine.stage.environment)
    assert len(reads) == again


@pytest.mark.hazard("B20")
def test_clocks_that_are_apart_are_asked_again_and_stop_it(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, reads: list[Environment]
) -> None:
    looked_ago(mine, monkeypatch, 0.0)
    asked: list[tuple[object, ...]] = []

    def why(*what: object) -> str:
        asked.append(what)
        return "apart"

    monkeypatch.setattr("kvops.connections.skew.why_skewed", why)
    with pytest.raises(RunError, match=r"^apart$") as refused:
        newest_manifest.insist_none(mine.stage.environment)
    assert (refused.value.code, reads) == (skew.CODE, [mine.stage.environment])
    assert asked == 2 * [(mine.stage.environment, Skew.Service.R2)]


def test_clocks_that_agree_again_stop_nothing(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, reads: list[Environment]
) -> None:
    looked_ago(mine, monkeypatch, 0.0)
    said = iter(["apart"])
    monkeypatch.setattr("kvops.connections.skew.why_skewed", lambda *_: next(said, ""))
    newest_manifest.insist_none(mine.stage.environment)
    assert len(reads) == 1


@pytest.mark.hazard("B32")
def test_a_database_that_was_rolled_back_stops_it(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, reads: list[Environment]
) -> None:
    monkeypatch.setattr("kvops.rollback.why_read_only", lambda: "older than its bucket")
    with pytest.raises(Stopped, match=r"^older than its bucket$") as stopped:
        newest_manifest.insist_none(mine.stage.environment)
    assert stopped.value.code == rollback.CODE


def test_a_bucket_that_does_not_answer_lets_nothing_begin(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, reads: list[Environment]
) -> None:
    def silent(_: Environment) -> None:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(newest_manifest, "compare_newest_manifest", silent)
    with pytest.raises(TryLater):
        newest_manifest.insist_none(mine.stage.environment)
