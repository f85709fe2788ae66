"""What leaves the machine, where to, how often, and what an answer is taken for."""

import logging
import threading
from collections.abc import Iterator

import httpx
import pytest

from kvops.cloudflare import (
    ApiError,
    AuthError,
    ConfigurationError,
    InvalidKeyName,
    RateLimited,
    TransportError,
    UnexpectedAnswer,
    Unlimited,
    _answers,
)
from kvops.cloudflare._errors import PageForbidden
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.http import Request
from tests.kvops.cloudflare.estate import NS, estate, reader, writer


@pytest.fixture
def fake() -> Iterator[FakeCloudflare]:
    with estate() as fake:
        fake.put(NS, "k", b"v")
        yield fake


class Naps:
    """A sleep that only remembers."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 513, "あ" * 171, "\ud800"])
def test_a_name_that_kv_cannot_hold_is_refused_before_anything_is_sent(fake: FakeCloudflare, name: str) -> None:
    with reader(fake) as cf, writer(fake) as kv:
        for call in (cf.value, cf.metadata, cf.exact_get):
            with pytest.raises(InvalidKeyName):
                call(NS, name)
        with pytest.raises(InvalidKeyName):
            cf.bulk_get(NS, ["k", name])
        with pytest.raises(InvalidKeyName):
            kv.bulk_delete(NS, ["k", name])
    assert fake.journal == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/storage/kv/namespaces/{ns}"),
        ("DELETE", "/storage/kv/namespaces/{ns}/values/k"),
        ("PUT", "/storage/kv/namespaces/{ns}/values/k"),
        ("POST", "/storage/kv/namespaces/{ns}/bulk/delete"),
        ("PUT", "/storage/kv/namespaces/{ns}/bulk"),
        ("GET", "/storage/kv/namespaces/{ns}/values/.."),
        ("GET", "/storage/kv/namespaces/{ns}/values/%2e%2E"),
        ("GET", "/storage/kv/namespaces/{ns}/values/a/../../keys"),
        ("GET", "/storage/kv/namespaces/{ns}/values/rewritten by the library"),
        ("GET", "/storage/kv/namespaces/{ns}/keys/"),
        ("GET", "/storage/kv/namespaces/../namespaces/{ns}"),
        ("GET", "/storage/kv/namespaces/{ns}#/keys"),
    ],
)
def test_the_reading_client_can_send_nothing_else(fake: FakeCloudflare, method: str, path: str) -> None:
    with reader(fake) as cf, pytest.raises(ConfigurationError, match="not a call"):
        cf._transport.raw(method, path.format(ns=NS))
    assert fake.journal == []


def test_an_identifier_cannot_change_the_route(fake: FakeCloudflare) -> None:
    with reader(fake) as cf:
        for identifier in ("..", "a/b", "", "a?b", "a#b"):
            with pytest.raises(ConfigurationError):
                cf.namespace(identifier)
    assert fake.journal == []


def test_a_host_that_is_not_allowed_is_refused(fake: FakeCloudflare) -> None:
    with pytest.raises(ConfigurationError, match="KVOPS_ALLOWED_API_HOSTS"):
        reader(fake, allowed_hosts={"api.cloudflare.com"})


def test_a_user_name_in_the_address_is_refused(fake: FakeCloudflare) -> None:
    with pytest.raises(ConfigurationError):
        reader(fake, base_url="https://api.cloudflare.com@127.0.0.1/client/v4")


def test_plain_http_is_refused_beyond_this_machine(fake: FakeCloudflare) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        reader(fake, base_url="http://10.0.0.1/client/v4", allowed_hosts={"10.0.0.1"})


def test_a_token_with_white_space_is_refused_without_showing_it(fake: FakeCloudflare) -> None:
    with pytest.raises(ConfigurationError) as caught:
        reader(fake, token="secret-canary\n")
    assert "canary" not in str(caught.value)


def test_a_redirect_is_not_followed(fake: FakeCloudflare) -> None:
    fake.fault("value", "redirect")
    with reader(fake) as cf, pytest.raises(UnexpectedAnswer, match="redirect"):
        cf.value(NS, "k")
    assert len(fake.journal) == 1


def test_proxy_variables_are_ignored(fake: FakeCloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with reader(fake) as cf:
        assert cf.value(NS, "k").data == b"v"


def test_no_key_name_is_logged(fake: FakeCloudflare, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fake.put(NS, "canary", b"v")
    with reader(fake) as cf:
        cf.value(NS, "canary")
    assert "canary" not in caplog.text


def test_no_key_name_and_no_token_stands_in_an_error(fake: FakeCloudflare) -> None:
    fake.fault("value", "reset", times=9)
    with reader(fake) as cf, pytest.raises(TransportError) as caught:
        cf.value(NS, "canary")
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", ["html_524", "error", "reset"])
def test_a_read_is_repeated_after_a_passing_failure(fake: FakeCloudflare, kind: str) -> None:
    fake.fault("value", kind, times=3)
    naps = Naps()
    with reader(fake, sleep=naps) as cf:
        assert cf.value(NS, "k").data == b"v"
        assert cf.calls == 4
    assert all(first < last for first, last in zip(naps.taken, [0.51, 1.01, 2.01], strict=True))


@pytest.mark.parametrize("route", ["bulk_get", "query"])
def test_reads_by_post_are_repeated_too(fake: FakeCloudflare, route: str) -> None:
    fake.fault(route, "error")
    with reader(fake) as cf:
        assert cf.bulk_get(NS, ["k"])["k"]
        assert cf.query("d1-database", "SELECT 1 AS x").rows == [{"x": 1}]
        assert cf.calls == 3


def test_repeating_ends(fake: FakeCloudflare) -> None:
    fake.fault("value", "html_524", times=9)
    with reader(fake) as cf, pytest.raises(UnexpectedAnswer, match=r"524.*text/html") as caught:
        cf.value(NS, "k")
    assert len(fake.journal) == 4
    assert caught.value.request_id.endswith("-FAKE")
    assert caught.value.request_id in str(caught.value)


def test_a_refusal_without_a_body_and_a_content_type_is_no_page() -> None:
    found = _answers.failure(httpx.Response(403))
    assert type(found) is UnexpectedAnswer
    assert "no content type instead of a JSON envelope" in str(found)


def test_a_refusal_as_a_page_is_a_forbidden_page() -> None:
    page = {"content-type": "text/html; charset=utf-8"}
    assert type(_answers.failure(httpx.Response(403, headers=page, content=b"<p>"))) is PageForbidden


def test_a_silent_server_is_given_up(fake: FakeCloudflare) -> None:
    fake.fault("value", "timeout", times=9, seconds=1)
    with reader(fake, timeout=0.05) as cf, pytest.raises(TransportError, match="ReadTimeout") as caught:
        cf.value(NS, "k")
    assert caught.value.outcome_unknown


def test_nobody_listening_means_nothing_was_done(fake: FakeCloudflare) -> None:
    with reader(fake, base_url="http://127.0.0.1:1/client/v4") as cf, pytest.raises(TransportError) as caught:
        cf.value(NS, "k")
    assert not caught.value.outcome_unknown


def test_a_challenge_page_is_told_apart_from_a_refused_token(fake: FakeCloudflare) -> None:
    fake.fault("namespace", "challenge")
    with reader(fake) as cf, pytest.raises(UnexpectedAnswer, match="challenge"):
        cf.namespace(NS)
    assert len(fake.journal) == 1


@pytest.mark.parametrize("token", ["unknown", "of-another-account"])
def test_a_refused_token_is_an_auth_error(fake: FakeCloudflare, token: str) -> None:
    fake.add_token("of-another-account", account="b" * 32, permission="read")
    with reader(fake, token=token) as cf, pytest.raises(AuthError, match="10000"):
        cf.namespace(NS)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed_in_both_forms(fake: FakeCloudflare, *, as_date: bool) -> None:
    fake.fault("value", "429", seconds=3, as_date=as_date)
    naps = Naps()
    with reader(fake, sleep=naps) as cf:
        assert cf.value(NS, "k").data == b"v"
    assert 2 <= naps.taken[0] <= 3


@pytest.mark.parametrize("as_date", [False, True])
def test_a_long_retry_after_is_handed_to_the_caller(fake: FakeCloudflare, *, as_date: bool) -> None:
    fake.fault("value", "429", seconds=120, as_date=as_date)
    with reader(fake) as cf, pytest.raises(RateLimited) as caught:
        cf.value(NS, "k")
    assert 119 <= caught.value.retry_after <= 120
    assert len(fake.journal) == 1


def test_the_servers_own_limit_is_obeyed(fake: FakeCloudflare) -> None:
    fake.quota = 2
    with reader(fake) as cf:
        cf.value(NS, "k")
        cf.value(NS, "k")
        with pytest.raises(RateLimited) as caught:
            cf.value(NS, "k")
    assert 290 < caught.value.retry_after <= 300


class Scripted(Unlimited):
    """A budget that answers from a list and remembers what it was told."""

    def __init__(self, waits: list[float]) -> None:
        self.waits = waits
        self.told: list[tuple[float, int | None]] = []

    def take(self, calls: int = 1) -> float:
        return self.waits.pop(0) if self.waits else float(calls - 1)

    def observed(self, *, wait: float, remaining: int | None) -> None:
        self.told.append((wait, remaining))


def test_a_short_wait_for_the_budget_is_slept(fake: FakeCloudflare) -> None:
    naps = Naps()
    with reader(fake, budget=Scripted([2.0, 1.0]), sleep=naps) as cf:
        cf.value(NS, "k")
    assert naps.taken == [2.0, 1.0]


@pytest.mark.parametrize("waits", [[6.0], [3.0, 3.0]])
def test_a_long_wait_for_the_budget_is_handed_to_the_caller(fake: FakeCloudflare, waits: list[float]) -> None:
    last = waits[-1]
    with reader(fake, budget=Scripted(waits)) as cf, pytest.raises(RateLimited) as caught:
        cf.value(NS, "k")
    assert caught.value.retry_after == last
    assert fake.journal == []


def test_the_budget_learns_what_the_headers_say(fake: FakeCloudflare) -> None:
    fake.quota = 10
    fake.fault("value", "429", seconds=1)
    budget = Scripted([])
    with reader(fake, budget=budget) as cf:
        cf.value(NS, "k")
    assert budget.told == [(1.0, 10), (0.0, 9)]


def test_every_repeat_takes_from_the_budget(fake: FakeCloudflare) -> None:
    fake.fault("value", "error", times=9)
    budget = Scripted([0.0, 0.0, 9.0])
    with reader(fake, budget=budget) as cf, pytest.raises(ApiError, match="500"):
        cf.value(NS, "k")
    assert len(fake.journal) == 2


def test_several_threads_share_a_client(fake: FakeCloudflare) -> None:
    together = threading.Barrier(8)

    def meet(_request: Request) -> None:
        together.wait()

    fake.hook("value", meet)
    with reader(fake, timeout=60.0) as cf:
        threads = [threading.Thread(target=cf.value, args=(NS, "k")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (cf.calls, len(fake.calls("value"))) == (8, 8)
