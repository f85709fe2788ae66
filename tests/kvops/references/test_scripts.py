"""The search of a deployed Worker's own script, at the version that runs."""

import pytest

from kvops.models import DeployedCode, ReferenceHit, ReferenceSearch, Run
from kvops.references import deployed, look as code_look, scripts
from sandbox import environment as sandbox
from tests import make
from tests.fakes.code import FakeCode
from tests.signing import signed_in

SCRIPT = """
export default {
  async fetch(request, env) {
    await env.KV.put("master:" + id, "x");
    return new Response(await env.KV.get(`mastercache:${id}`));
  },
};
"""


@pytest.fixture
def code(estate: make.Estate) -> FakeCode:
    """A Worker that binds SETTINGS under the name KV."""
    found = estate.cloudflare.code(estate.qa.environment.account_id)
    found.worker("api", {"KV": estate.qa.namespace_id}, SCRIPT)
    code_look.look(estate.qa.environment)
    return found


def searched(estate: make.Estate, people: make.People) -> Run:
    run = scripts.start(DeployedCode.objects.get(name="api"), by=people.operator)
    make.work()
    run.refresh_from_db()
    return run


def hits() -> set[tuple[str, str, str]]:
    return set(ReferenceHit.objects.values_list("family", "access", "file"))


def test_the_script_that_runs_is_searched_and_stored_with_its_version(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    run = searched(estate, people)
    search = ReferenceSearch.objects.get()
    version = code.workers["api"].active[0]
    assert (run.state, run.result) == ("succeeded", {"search": search.pk, "files": 1, "hits": 2})
    assert (search.source, search.worker, search.version, search.etag) == ("worker", "api", version, "etag-1")
    assert (search.by, search.commit, search.environment) == (people.operator, "", estate.qa.environment)
    assert deployed.state(search, estate.qa).same


def test_a_hit_names_the_binding_as_the_environment_does(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    searched(estate, people)
    assert hits() == {
        ("SETTINGS master:*", "write", "index.js"),
        ("SETTINGS mastercache:*", "read", "index.js"),
    }


def test_a_module_that_cannot_be_searched_is_a_hit_that_cannot_be_told(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    api = code.workers["api"]
    version = api.versions[api.active[0]]
    version.modules |= {"lib/core.wasm": b"\0asm", "./entry": b"export {}", "map.js.map": b"{}"}
    version.types |= {"lib/core.wasm": "application/wasm", "map.js.map": "application/source-map"}
    assert searched(estate, people).result["files"] == 3
    search = ReferenceSearch.objects.get()
    assert search.unparsed == ["lib/core.wasm"]
    assert ("*", "unknown", "lib/core.wasm") in hits()


def test_a_script_of_wasm_alone_is_not_free_of_references(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    version = code.workers["api"].versions[code.workers["api"].active[0]]
    version.modules, version.types = {"core.wasm": b"\0asm"}, {"core.wasm": "application/wasm"}
    searched(estate, people)
    assert hits() == {("*", "unknown", "core.wasm")}


@pytest.mark.parametrize(("name", "other"), [("a/../index.js", "x.js"), ("index.js\n", "x.js"), ("x//y.js", "x/y.js")])
def test_names_that_mislead_are_refused(
    estate: make.Estate, people: make.People, code: FakeCode, name: str, other: str
) -> None:
    version = code.workers["api"].versions[code.workers["api"].active[0]]
    version.modules = {name: b"", other: b"", "a/index.js": b""}
    assert (searched(estate, people).state, ReferenceSearch.objects.exists()) == ("failed", False)


def test_a_version_that_is_gone_is_not_searched(estate: make.Estate, people: make.People, code: FakeCode) -> None:
    scripts.start(DeployedCode.objects.get(name="api"), by=people.operator)
    api = code.workers["api"]
    api.deploy(api.upload({"KV": estate.qa.namespace_id}))
    code_look.look(estate.qa.environment)
    make.work()
    assert Run.objects.get(kind=Run.Kind.SEARCH).error_code == "superseded"
    assert not ReferenceSearch.objects.exists()


def test_without_the_code_there_is_no_search(estate: make.Estate, people: make.People, code: FakeCode) -> None:
    for kind in ("effect_then_nothing", "too_large"):
        estate.cloudflare.fault("modules", kind)
        assert searched(estate, people).error_code == "cloudflare"
    assert not ReferenceSearch.objects.exists()


def test_the_page_starts_the_search_for_an_operator(estate: make.Estate, people: make.People, code: FakeCode) -> None:
    pk = DeployedCode.objects.get(name="api").pk
    code.project("site", {"KV": estate.qa.namespace_id}, "c" * 40)
    code_look.look(estate.qa.environment)
    client = signed_in(people.operator)
    assert "Search the script" in client.get("/references/qa/deployed/").text
    assert "Search the script" not in signed_in(people.reviewer).get("/references/qa/deployed/").text
    answer = client.post(f"/references/qa/deployed/{pk}/search")
    assert answer.headers["Location"] == f"/runs/{Run.objects.get(kind=Run.Kind.SEARCH).pk}/"
    site = DeployedCode.objects.get(name="site")
    with pytest.raises(scripts.ScriptRefused, match="Pages"):
        scripts.start(site, by=people.operator)
    with pytest.raises(scripts.ScriptRefused):
        scripts.start(site, by=people.reviewer)


def test_the_sample_worker_has_the_references_that_it_is_there_for(
    estate: make.Estate, people: make.People, code: FakeCode
) -> None:
    make.family("clinic:id:", "legacy")  # type: ignore[arg-type]
    source = (sandbox.CODE / "api/src/index.js").read_text("utf-8").replace("env.SETTINGS", "env.KV")
    code.workers["api"].versions[code.workers["api"].active[0]].modules = {"index.js": source.encode()}
    searched(estate, people)
    found = {(family, access) for family, access, _file in hits()}
    assert {
        ("SETTINGS master:*", "list"),
        ("SETTINGS mastercache:*", "read"),
        ("SETTINGS mastercache:*", "write"),
        ("SETTINGS clinic:id:*", "read"),
        ("SETTINGS clinic:id:*", "write"),
        ("SETTINGS *", "read"),
    } <= found
