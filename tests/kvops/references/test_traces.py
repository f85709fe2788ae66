"""Traced calls on keys: each is to be answered, and their absence proves something only where all code is traced."""

import time

import pytest

from audit.models import Entry
from kvops.models import StillRead, TraceQuery
from kvops.references import look as code_look, traces
from tests import make
from tests.fakes.code import FakeCode, FakeSpan
from tests.signing import signed_in

PAGE = "/references/qa/deployed/"
HOUR = 3600.0


@pytest.fixture
def code(estate: make.Estate) -> FakeCode:
    """One traced Worker that binds SETTINGS as KV, and has just read a setting."""
    found = estate.cloudflare.code(estate.qa.environment.account_id)
    api = found.worker("api", {"KV": estate.qa.namespace_id})
    api.observability = {"enabled": True, "traces": {"enabled": True}}
    code_look.look(estate.qa.environment)
    span(found, "kv_get", "system-root")
    return found


def span(code: FakeCode, name: str, keys: str = "", *, hours: float = 1, **more: str) -> None:
    """One more traced call of the Worker, some hours ago."""
    values = {"script": "api", "version": code.workers["api"].active[0], "binding": "KV", **more}
    code.spans.append(FakeSpan(name=name, at=time.time() - hours * HOUR, keys=keys, **values))


def asked(estate: make.Estate, people: make.People, prefix: str = "master:") -> list[tuple[str, str, int]]:
    query = traces.ask(estate.qa, prefix, by=people.operator)
    return [(read.worker, read.access, read.count) for read in query.reads.order_by("access")]


def test_calls_are_counted_by_kind_with_the_time_of_the_last(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    for name, hours in (("kv_get", 1.0), ("kv_getWithMetadata", 2.0), ("kv_put", 3.0), ("kv_delete", 200.0)):
        span(code, name, "master:a:1", hours=hours)
    span(code, "kv_get", "mastercache:a")
    span(code, "kv_get", "x,master:a:2", hours=4)
    assert asked(estate, people) == [("api", "read", 3), ("api", "write", 1)]
    read = StillRead.objects.get(access="read")
    assert read.version == code.workers["api"].active[0]
    assert abs(read.last_at.timestamp() - (time.time() - HOUR)) < 60
    assert [one.access for one in traces.unanswered(estate.qa, "master:")] == ["read", "write"]
    assert traces.not_known(estate.qa, "master:") == ""


@pytest.mark.parametrize(("prefix", "counts"), [("", True), ("mas", True), ("master:a:", True), ("clinic:", False)])
def test_a_listing_counts_if_it_can_return_such_keys(
    estate: make.Estate, people: make.People, code: FakeCode, prefix: str, counts: bool
) -> None:
    span(code, "kv_list", prefix=prefix)
    assert asked(estate, people) == ([("api", "list", 1)] if counts else [])


def test_another_binding_of_the_same_worker_is_another_namespace(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    span(code, "kv_get", "master:a:1", binding="OTHER")
    assert asked(estate, people) == []


def test_no_call_is_known_where_everything_is_traced(estate: make.Estate, people: make.People, code: FakeCode) -> None:
    assert asked(estate, people) == []
    assert traces.not_known(estate.qa, "master:") == ""
    assert "never asked" in traces.not_known(estate.qa, "clinic:")


@pytest.mark.parametrize("gap", ["off", "sampled", "pages", "silent", "look", "permission", "odd", "away"])
def test_what_is_not_traced_is_not_known(estate: make.Estate, people: make.People, code: FakeCode, gap: str) -> None:
    api = code.workers["api"]
    match gap:
        case "off":
            api.observability = {"enabled": True}
        case "sampled":
            api.observability = {"enabled": True, "traces": {"enabled": True, "head_sampling_rate": 0.1}}
        case "pages":
            code.project("site", {"KV": estate.qa.namespace_id}, "c" * 40)
        case "silent":
            code.spans.clear()
        case "permission":
            estate.cloudflare.fault("telemetry", "refusal", status=403, code=10000)
        case "odd":
            estate.cloudflare.fault("telemetry", "effect_then_nothing")
        case "away":
            estate.cloudflare.fault("telemetry", "error", times=9)
    code_look.look(estate.qa.environment)
    if gap == "look":
        estate.qa.environment.deployed_look.delete()
    assert asked(estate, people) == []
    assert traces.not_known(estate.qa, "master:").startswith("Whether the keys are still used is not known")


def test_an_answer_holds_for_its_version(estate: make.Estate, people: make.People, code: FakeCode) -> None:
    span(code, "kv_get", "master:a:1")
    asked(estate, people)
    (read,) = traces.unanswered(estate.qa, "master:")
    with pytest.raises(traces.TracesRefused, match="Give the reason"):
        traces.answer(read, reason=" ", by=people.operator)
    traces.answer(read, reason="It falls back to D1.", by=people.operator)
    asked(estate, people)
    assert traces.unanswered(estate.qa, "master:") == []
    api = code.workers["api"]
    api.deploy(api.upload({"KV": estate.qa.namespace_id}))
    span(code, "kv_get", "master:a:1")
    asked(estate, people)
    assert [one.version for one in traces.unanswered(estate.qa, "master:")] == api.active
    assert Entry.objects.filter(action="traces.answered").count() == 1


def test_a_call_goes_only_when_a_later_query_disproves_it(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    span(code, "kv_get", "master:a:1")
    assert len(asked(estate, people)) == 1
    estate.cloudflare.fault("telemetry", "effect_then_nothing")
    assert len(asked(estate, people)) == 1
    code.spans.pop()
    assert asked(estate, people) == []


def test_only_an_operator_asks_and_answers(estate: make.Estate, people: make.People, code: FakeCode) -> None:
    with pytest.raises(traces.TracesRefused):
        traces.ask(estate.qa, "master:", by=people.reviewer)
    with pytest.raises(traces.TracesRefused):
        traces.ask(estate.qa, "", by=people.operator)
    assert not TraceQuery.objects.exists()


def test_the_page_asks_shows_and_takes_the_answer(estate: make.Estate, people: make.People, code: FakeCode) -> None:
    span(code, "kv_get", "master:a:1")
    client = signed_in(people.operator)
    typed = {"namespace": str(estate.qa.pk), "beginning": "master:"}
    assert "not answered" in signed_in(people.auditor).get(client.post(f"{PAGE}traces", typed).headers["Location"]).text
    read = StillRead.objects.get()
    answered = client.post(f"{PAGE}traces/{read.pk}", {"reason": "It falls back to D1."}, follow=True).text
    assert "It falls back to D1." in answered
    assert client.post(f"{PAGE}traces", {"namespace": str(estate.production.pk), "beginning": "x"}).status_code == 422
    assert (
        client.post(f"/references/production/deployed/traces/{read.pk}", {"reason": "no longer needed"}).status_code
        == 404
    )
