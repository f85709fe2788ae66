"""Reading deployed code through the real client: what is odd is refused, and nothing is read without a limit."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from kvops.cloudflare import Cloudflare, CloudflareError, TooLarge, UnexpectedAnswer
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.code import FakeCode
from tests.kvops.cloudflare.estate import ACCOUNT, NS, estate, reader

COMMIT = "c" * 40


@pytest.fixture
def fake() -> Iterator[FakeCloudflare]:
    with estate() as fake:
        yield fake


@pytest.fixture
def code(fake: FakeCloudflare) -> FakeCode:
    return fake.code(ACCOUNT)


@pytest.fixture
def cf(fake: FakeCloudflare) -> Iterator[Cloudflare]:
    with reader(fake) as client:
        yield client


def test_a_download_over_the_limit_is_refused(
    fake: FakeCloudflare, code: FakeCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = tuple(replace(route, most=10_000) if route.name == "modules" else route for route in Cloudflare.routes)
    monkeypatch.setattr(Cloudflare, "routes", routes)
    api = code.worker("api", {}, "x" * 20_000)
    with reader(fake) as cf, pytest.raises(TooLarge, match="longer than 10000 bytes"):
        cf.modules("api", api.active[0])


def test_more_projects_than_fit_on_a_page_are_all_listed(fake: FakeCloudflare, cf: Cloudflare, code: FakeCode) -> None:
    names = [f"site-{number}" for number in range(25)]
    for name in names:
        code.project(name, {})
    assert cf.pages_projects() == names
    assert len(fake.calls("pages_projects")) == 3


def test_builds_are_asked_for_twenty_at_once(fake: FakeCloudflare, cf: Cloudflare, code: FakeCode) -> None:
    api = code.worker("api", {})
    versions = [api.upload({}, commit=COMMIT if number % 2 else "").id for number in range(41)]
    assert cf.build_commits(versions) == dict.fromkeys(versions[1::2], COMMIT)
    assert len(fake.calls("builds")) == 3


def test_a_worker_without_a_deployment_has_none(cf: Cloudflare, code: FakeCode) -> None:
    code.worker("api", {}).active = []
    assert cf.deployment("api") is None


def test_a_project_without_a_deployment_runs_nothing(cf: Cloudflare, code: FakeCode) -> None:
    code.project("site", {"KV": NS}).deployment = ""
    found = cf.pages_project("site")
    assert (found.deployment, found.commit, found.at, found.kv) == ("", "", None, {"KV": NS})


@pytest.mark.parametrize("kind", ["effect_then_garbage", "effect_then_nothing", "challenge", "redirect", "page_403"])
def test_an_odd_answer_about_code_is_an_error(fake: FakeCloudflare, cf: Cloudflare, code: FakeCode, kind: str) -> None:
    version = code.worker("api", {}).active[0]
    code.project("site", {})
    asks: dict[str, Callable[[], object]] = {
        "scripts": cf.scripts,
        "deployments": lambda: cf.deployment("api"),
        "version": lambda: cf.worker_version("api", version),
        "modules": lambda: cf.modules("api", version),
        "pages_projects": cf.pages_projects,
        "pages_project": lambda: cf.pages_project("site"),
    }
    for route, ask in asks.items():
        fake.fault(route, kind)
        with pytest.raises(UnexpectedAnswer):
            ask()


def test_a_token_without_the_permission_reads_no_code(fake: FakeCloudflare, code: FakeCode) -> None:
    code.worker("api", {})
    fake.add_token("narrow", account=ACCOUNT, permission="kv")
    with reader(fake, token="narrow") as cf:
        assert cf.namespace(NS).id == NS
        for ask in (cf.scripts, cf.pages_projects):
            with pytest.raises(CloudflareError, match="403"):
                ask()
