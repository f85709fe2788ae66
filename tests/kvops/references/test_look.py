"""Looks at deployed code: Cloudflare's answers are stored, and without an answer the code is not known."""

import time

import pytest

from audit.models import Entry
from kvops import clock, timing
from kvops.cloudflare import RateLimited, TransportError
from kvops.models import DeployedCode, DeployedLook, Family, ReferenceAnswer
from kvops.references import deployed, look as code_look, store as reference_store
from tests import make
from tests.fakes.code import FakeCode
from tests.kvops.references import reports

COMMIT = "c" * 40
NEXT = "d" * 40


@pytest.fixture
def code(estate: make.Estate) -> FakeCode:
    """QA's deployed code: a Worker and a Pages project that bind SETTINGS, and a Worker that does not."""
    found = estate.cloudflare.code(estate.qa.environment.account_id)
    found.worker("api", {"SETTINGS": estate.qa.namespace_id})
    found.worker("mailer", {"OTHER": "9" * 32})
    found.project("site", {"KV": estate.qa.namespace_id}, COMMIT)
    return found


def look(estate: make.Estate) -> DeployedLook:
    return code_look.look(estate.qa.environment)


def using(estate: make.Estate) -> list[tuple[str, str, str]]:
    return [(one.name, one.commit, one.etag) for one in deployed.using(estate.qa)]


def asked(estate: make.Estate, route: str) -> int:
    return len(estate.cloudflare.calls(route))


def test_a_look_finds_the_code_that_binds_a_namespace(estate: make.Estate, code: FakeCode) -> None:
    assert look(estate).problem == ""
    assert using(estate) == [("site", COMMIT, ""), ("api", "", "etag-1")]
    site, api = deployed.using(estate.qa)
    assert (site.bindings, api.version) == ({"KV": estate.qa.namespace_id}, code.workers["api"].active[0])
    assert api.deployed_at is not None
    assert deployed.not_known(estate.qa.environment) == ""


def test_a_version_that_was_seen_is_not_asked_for_again(estate: make.Estate, code: FakeCode) -> None:
    look(estate)
    look(estate)
    assert (asked(estate, "version"), asked(estate, "deployments")) == (2, 4)
    api = code.workers["api"]
    api.deploy(api.upload({}))
    look(estate)
    assert (asked(estate, "version"), using(estate)) == (3, [("site", COMMIT, "")])


def test_both_versions_of_a_gradual_deployment_are_there_until_it_ends(estate: make.Estate, code: FakeCode) -> None:
    api = code.workers["api"]
    first, second = api.versions[api.active[0]], api.upload({"SETTINGS": estate.qa.namespace_id}, commit=NEXT)
    api.deploy(first, second)
    look(estate)
    assert [one[1:3] for one in using(estate)[1:]] == [("", "etag-1"), (NEXT, "etag-2")]
    api.deploy(second)
    look(estate)
    assert [one[1:3] for one in using(estate)[1:]] == [(NEXT, "etag-2")]


def test_a_worker_that_is_not_deployed_does_not_run(estate: make.Estate, code: FakeCode) -> None:
    code.workers["api"].active = []
    assert look(estate).problem == ""
    assert [one.name for one in deployed.using(estate.qa)] == ["site"]


@pytest.mark.parametrize("stage", [("build", "active"), ("deploy", "failure"), ("build", "failure")])
def test_a_deployment_that_did_not_succeed_has_no_commit(
    estate: make.Estate, code: FakeCode, stage: tuple[str, str]
) -> None:
    code.projects["site"].stage = stage
    look(estate)
    assert deployed.using(estate.qa)[0].commit == ""


@pytest.mark.parametrize("commit", ["main", "", "abc1234", "C" * 40])
def test_only_a_full_hash_is_a_commit(estate: make.Estate, code: FakeCode, commit: str) -> None:
    code.projects["site"].commit = commit
    look(estate)
    assert deployed.using(estate.qa)[0].commit == ""


def test_a_changed_checkout_is_said(estate: make.Estate, code: FakeCode) -> None:
    code.projects["site"].dirty = True
    look(estate)
    assert deployed.using(estate.qa)[0].dirty


def test_a_binding_taken_from_the_settings_stays_until_the_next_deployment(estate: make.Estate, code: FakeCode) -> None:
    look(estate)
    code.projects["site"].kv = {}
    look(estate)
    assert [one.name for one in deployed.using(estate.qa)] == ["site", "api"]
    code.projects["site"].deployment = "deployment-2"
    look(estate)
    assert [one.name for one in deployed.using(estate.qa)] == ["api"]


def test_without_the_permission_the_code_is_not_known_and_the_rows_stay(estate: make.Estate, code: FakeCode) -> None:
    look(estate)
    estate.cloudflare.add_token("qa-read-token", account=estate.qa.environment.account_id, permission="kv")
    assert look(estate).problem == code_look.NO_WORKERS
    assert "Workers Scripts Read" in str(deployed.not_known(estate.qa.environment))
    assert len(using(estate)) == 2


@pytest.mark.parametrize("route", ["scripts", "deployments", "version", "pages_projects"])
@pytest.mark.parametrize("kind", ["effect_then_garbage", "effect_then_nothing", "challenge"])
def test_an_odd_answer_is_not_known(estate: make.Estate, code: FakeCode, route: str, kind: str) -> None:
    estate.cloudflare.fault(route, kind)
    assert look(estate).problem == code_look.ODD
    assert not DeployedCode.objects.exists()


def test_the_permission_for_pages_is_named(estate: make.Estate, code: FakeCode) -> None:
    estate.cloudflare.fault("pages_projects", "refusal", status=403, code=10000)
    assert look(estate).problem == code_look.NO_PAGES


def test_the_builds_need_no_permission(estate: make.Estate, code: FakeCode) -> None:
    estate.cloudflare.fault("builds", "refusal", status=403, code=10000)
    assert look(estate).problem == ""


def test_an_error_that_passes_leaves_the_last_look_to_age(estate: make.Estate, code: FakeCode) -> None:
    before = look(estate).at
    estate.cloudflare.fault("scripts", "error", times=9)
    with pytest.raises(Exception, match="500"):
        look(estate)
    estate.cloudflare.heal()
    estate.cloudflare.fault("scripts", "429", times=9, seconds=60)
    with pytest.raises((RateLimited, TransportError)):
        look(estate)
    assert DeployedLook.objects.get().at == before


def test_a_run_looks_and_tells_how_much_is_deployed(estate: make.Estate, code: FakeCode) -> None:
    run = code_look.start(estate.qa.environment, actor=make.SETUP)
    assert code_look.under_way(estate.qa.environment) == run
    make.work()
    run.refresh_from_db()
    assert (run.state, run.result, len(using(estate))) == ("succeeded", {"deployed": 3}, 2)
    assert code_look.under_way(estate.qa.environment) is None


def test_previews_that_bind_production_are_named_and_their_code_is_not_known(
    estate: make.Estate, code: FakeCode
) -> None:
    environment, namespace = estate.production.environment, estate.production.namespace_id
    site = estate.cloudflare.code(environment.account_id).project("shop", {"KV": namespace}, COMMIT)
    code_look.look(environment)
    search = reference_store.store(environment, reports.report(commit=COMMIT), source="file", by=make.SETUP)
    assert deployed.state(search, estate.production).kind == deployed.SAME
    site.preview_kv = {"KV": namespace}
    code_look.look(environment)
    state = deployed.state(search, estate.production)
    assert (state.kind, len(state.reasons)) == (deployed.NOT_KNOWN, 1)
    assert str(state.reasons[0]).startswith("Previews of the Pages project shop use production")
    site.preview_kv = {}
    code_look.look(environment)
    assert deployed.state(search, estate.production).kind == deployed.SAME


def test_previews_of_qa_are_what_qa_is_for(estate: make.Estate, code: FakeCode) -> None:
    code.projects["site"].preview_kv = {"KV": estate.qa.namespace_id}
    look(estate)
    assert using(estate) == [("site", COMMIT, ""), ("api", "", "etag-1")]


def follow_up(estate: make.Estate, people: make.People) -> ReferenceAnswer:
    """A promise about a place that the code of the first commit has."""
    master, _made = Family.objects.get_or_create(
        binding="SETTINGS", pattern="master:", defaults={"category": "legacy", "owner": "platform"}
    )
    search = reference_store.store(estate.qa.environment, reports.report(reports.hit()), source="file", by=make.SETUP)
    hit, by = search.hits.get(), people.operator
    todo = {"kind": "follow_up", "follow_up": "d1", "owner": by, "due": clock.now().date(), "reason": "D1 is ready"}
    return ReferenceAnswer.objects.create(family=master, hit=hit, fingerprint=hit.fingerprint, by=by, **todo)


def test_a_search_before_the_deployment_closes_a_follow_up_once_the_deployment_is_seen(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    code.workers["api"].deploy()
    look(estate)
    answer = follow_up(estate, people)
    fixed = reports.report(hours=1, commit=NEXT)
    search = reference_store.store(estate.qa.environment, fixed, source="file", by=make.SETUP)
    look(estate)
    assert ReferenceAnswer.objects.get(pk=answer.pk).closed_by is None
    code.projects["site"].commit, code.projects["site"].deployment = NEXT, "deployment-2"
    look(estate)
    assert ReferenceAnswer.objects.get(pk=answer.pk).closed_by == search
    entry = Entry.objects.get(action="references.answered")
    assert (entry.subject, entry.details) == ("environment:qa", {"kind": "closed", "follow_ups_closed": 1})


def test_code_that_dropped_its_binding_closes_a_follow_up(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    answer = follow_up(estate, people)
    code.projects.clear()
    reference_store.store(
        estate.qa.environment, reports.report(hours=1, commit=NEXT), source="file", by=make.SETUP
    )  # fmt: skip
    api = code.workers["api"]
    api.deploy(api.upload({}, commit=NEXT))
    look(estate)
    assert ReferenceAnswer.objects.get(pk=answer.pk).closed_by is not None


def test_no_answer_leaves_what_was_known(estate: make.Estate, code: FakeCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "DEPLOYED_FRESH", 0)
    assert code_look.ask_when_due(estate.qa.environment)
    estate.cloudflare.fault("scripts", "error", times=9)
    assert not code_look.ask_when_due(estate.qa.environment)
    assert deployed.not_known(estate.qa.environment) == ""


def test_a_person_waits_no_longer_than_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = code_look._patience()
    keep()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + timing.REQUEST_TIMEOUT)
    with pytest.raises(TransportError, match="takes too long"):
        keep()
