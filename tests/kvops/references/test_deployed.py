"""The searched code against the deployed code: what is not known is never good."""

from datetime import timedelta

import pytest

from kvops import clock, timing
from kvops.models import DeployedCode, DeployedLook, Namespace, ReferenceSearch
from kvops.references import deployed
from tests import make

COMMIT = "c" * 40
OTHER = "d" * 40


@pytest.fixture(autouse=True)
def look(estate: make.Estate) -> DeployedLook:
    """A look just now, without a problem."""
    return DeployedLook.objects.create(environment=estate.qa.environment, at=clock.now())


def runs(estate: make.Estate, name: str = "site", kind: str = "pages", **more: object) -> DeployedCode:
    """Deployed code in QA that binds SETTINGS."""
    values = {"bindings": {"SETTINGS": estate.qa.namespace_id}, "seen_at": clock.now(), **more}
    return DeployedCode.objects.create(environment=estate.qa.environment, kind=kind, name=name, **values)


def searched(estate: make.Estate, **more: object) -> ReferenceSearch:
    """A search of QA's code: of the commit, unless the search names a script."""
    named = {"source": "worker"} if "worker" in more else {"source": "checkout", "commit": COMMIT}
    count = ReferenceSearch.objects.count()
    values = {"files": 1, "hit_count": 0, "digest": f"{count:064}", "searched_at": clock.now(), "made_by": "tests"}
    return ReferenceSearch.objects.create(**{"environment": estate.qa.environment, **values, **named, **more})


def script(estate: make.Estate, **more: object) -> ReferenceSearch:
    return searched(estate, **{"worker": "api", "version": "v1", "etag": "e1", **more})


def test_the_searched_commit_is_what_runs(estate: make.Estate) -> None:
    runs(estate, commit=COMMIT)
    found = deployed.state(searched(estate), estate.qa)
    assert (found.kind, list(found.reasons), found.same) == (deployed.SAME, [], True)


def test_another_commit_is_named_beside_the_searched_one(estate: make.Estate) -> None:
    runs(estate, commit=OTHER)
    found = deployed.state(searched(estate), estate.qa)
    assert (found.kind, found.same) == (deployed.OTHER, False)
    assert [str(reason) for reason in found.reasons] == [f"Pages project site runs {OTHER}; searched was {COMMIT}."]


def test_every_code_that_binds_the_namespace_counts(estate: make.Estate) -> None:
    runs(estate, commit=COMMIT)
    runs(estate, name="other", commit=OTHER)
    assert deployed.state(searched(estate), estate.qa).kind == deployed.OTHER
    DeployedCode.objects.filter(name="other").update(bindings={"SETTINGS": "9" * 32})
    assert [code.name for code in deployed.using(estate.qa)] == ["site"]
    assert deployed.state(searched(estate), estate.qa).same


def test_a_searched_script_is_what_runs_by_version_and_content(estate: make.Estate) -> None:
    runs(estate, "api", "worker", version="v1", etag="e1")
    assert deployed.state(script(estate), estate.qa).same
    assert deployed.state(script(estate, version="v0"), estate.qa).kind == deployed.OTHER
    assert deployed.state(script(estate, etag="e0"), estate.qa).kind == deployed.OTHER
    assert deployed.state(script(estate, worker="app"), estate.qa).kind == deployed.NOT_KNOWN


def test_both_versions_of_a_gradual_deployment_must_be_searched(estate: make.Estate) -> None:
    runs(estate, "api", "worker", version="v1", etag="e1")
    runs(estate, "api", "worker", version="v2", etag="e2")
    one, two = script(estate), script(estate, version="v2", etag="e2")
    assert deployed.state(one, estate.qa).kind == deployed.OTHER
    assert deployed.state(one, estate.qa, two).same


def test_a_script_and_a_project_are_covered_by_two_searches(estate: make.Estate) -> None:
    runs(estate, commit=COMMIT)
    runs(estate, "api", "worker", version="v1", etag="e1")
    assert deployed.state(searched(estate), estate.qa).kind == deployed.NOT_KNOWN
    assert deployed.state(script(estate), estate.qa).kind == deployed.OTHER
    assert deployed.state(searched(estate), estate.qa, script(estate)).same


def test_a_script_with_a_commit_is_covered_by_a_search_of_it(estate: make.Estate) -> None:
    runs(estate, "api", "worker", version="v1", etag="e1", commit=COMMIT)
    assert deployed.state(searched(estate), estate.qa).same
    assert deployed.state(searched(estate, commit=OTHER), estate.qa).kind == deployed.OTHER


@pytest.mark.parametrize("kind", ["worker", "pages"])
@pytest.mark.parametrize(("commit", "dirty"), [("", False), (COMMIT, True), ("", True)])
def test_no_commit_and_a_changed_checkout_are_not_known(
    estate: make.Estate, kind: str, commit: str, dirty: bool
) -> None:
    runs(estate, kind=kind, commit=commit, dirty=dirty)
    found = deployed.state(searched(estate), estate.qa)
    assert (found.kind, found.same) == (deployed.NOT_KNOWN, False)
    assert found.reasons


def test_a_namespace_that_nothing_binds_is_not_known(estate: make.Estate) -> None:
    runs(estate, commit=COMMIT, bindings={})
    assert deployed.state(searched(estate), estate.qa).kind == deployed.NOT_KNOWN


@pytest.mark.parametrize("broken", ["none", "problem", "old"])
def test_without_a_fresh_look_nothing_is_known(estate: make.Estate, look: DeployedLook, broken: str) -> None:
    runs(estate, commit=COMMIT)
    match broken:
        case "none":
            look.delete()
        case "problem":
            DeployedLook.objects.update(problem="The read token lacks a permission.")
        case "old":
            DeployedLook.objects.update(at=clock.now() - timedelta(seconds=timing.DEPLOYED_KNOWN + 60))
    found = deployed.state(searched(estate), estate.qa)
    assert (found.kind, found.same, len(found.reasons)) == (deployed.NOT_KNOWN, False, 1)


def test_a_search_of_another_environment_covers_nothing(estate: make.Estate) -> None:
    runs(estate, commit=COMMIT)
    search = searched(estate, environment=estate.production.environment)
    assert deployed.state(search, estate.qa).kind == deployed.OTHER


def test_the_searches_that_count_are_those_of_the_checkout_and_of_each_script(estate: make.Estate) -> None:
    runs(estate, commit=COMMIT)
    runs(estate, "api", "worker", version="v1", etag="e1")
    assert deployed.searches(estate.qa) == []
    older, checkout = searched(estate, commit=OTHER), searched(estate)
    old, new, _other = script(estate, version="v0"), script(estate), script(estate, worker="app")
    assert deployed.searches(estate.qa) == [checkout, new]
    assert deployed.state(*_around(estate, deployed.searches(estate.qa))).same
    DeployedCode.objects.filter(name="api").update(commit=COMMIT)
    assert deployed.searches(estate.qa) == [checkout]
    DeployedCode.objects.filter(name="api").update(commit="", version="v2")
    assert deployed.searches(estate.qa) == [checkout, new]
    assert deployed.state(*_around(estate, [checkout, new])).kind == deployed.OTHER
    assert {older, old}.isdisjoint(deployed.searches(estate.qa))


def _around(
    estate: make.Estate, searches: list[ReferenceSearch]
) -> tuple[ReferenceSearch, Namespace, *tuple[ReferenceSearch, ...]]:
    return searches[0], estate.qa, *searches[1:]
