"""How long an answer says to wait: Retry-After in both forms, and everything it should not be."""

import time
from email.utils import formatdate

import httpx
import pytest
from hypothesis import given, strategies as st

from kvops.cloudflare import DailyLimitReached, RateLimited
from kvops.cloudflare._answers import BLOCKED, LONGEST_WAIT, asked_to_wait, failure, remaining, retry_after

SKEWS = (-86_400, -300, 0, 300, 86_400)
"""Seconds by which Cloudflare's clock may differ from ours."""


def answer(status: int = 429, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


@pytest.mark.parametrize(("header", "wait"), [("0", 0), ("7", 7), ("2.5", 2.5), (" 30 ", 30), ("3600", 3600)])
def test_seconds_are_taken_as_they_are(header: str, wait: float) -> None:
    assert retry_after(answer(retry_after=header)) == wait


@pytest.mark.parametrize("skew", SKEWS)
def test_a_date_is_measured_on_the_clock_that_wrote_it(skew: int) -> None:
    now = int(time.time()) + skew
    assert retry_after(answer(retry_after=date(now + 120), date=date(now))) == 120


def test_a_date_without_the_servers_clock_is_measured_on_ours() -> None:
    assert retry_after(answer(retry_after=date(time.time() + 120))) == pytest.approx(120, abs=2)


@pytest.mark.parametrize("skew", SKEWS)
def test_a_date_that_is_past_is_no_wait(skew: int) -> None:
    now = int(time.time()) + skew
    assert retry_after(answer(retry_after=date(now - 60), date=date(now))) == 0


@pytest.mark.parametrize(
    "header", ["", "-5", "soon", "1e3", "0x10", "１２", "nan", "inf", "Sat, 31 Feb 2026 25:61:61 GMT"]
)
def test_what_is_no_wait_is_ignored_and_a_429_waits_as_documented(header: str) -> None:
    said = httpx.Response(429, headers=[(b"retry-after", header.encode())])
    assert retry_after(said) is None
    error = failure(said)
    assert isinstance(error, RateLimited)
    assert error.retry_after == BLOCKED


@pytest.mark.parametrize("header", ["3601", "999999999", "9" * 400, "Fri, 31 Dec 2099 23:59:59 GMT"])
def test_a_wait_that_cannot_be_meant_is_cut_to_the_longest_that_is_documented(header: str) -> None:
    assert retry_after(answer(retry_after=header)) == BLOCKED


def test_a_reset_that_cannot_be_meant_is_cut_too() -> None:
    assert asked_to_wait(answer(ratelimit='"default";r=0;t=999999999')) == BLOCKED


@pytest.mark.parametrize(
    ("ratelimit", "policy", "wait"),
    [
        ('"default";r=200;t=60', "", 0),
        ('"default";r=199;t=60', "", 60),
        ('"default";r=199;t=60', '"default";q=1200;w=300', 60),
        ('"burst";r=4;t=2', '"burst";q=30;w=10', 2),
        ('"burst";r=5;t=2', '"burst";q=30;w=10', 0),
        ('"default";r=900;t=60, "burst";r=0;t=2', '"default";q=1200;w=300, "burst";q=30;w=10', 2),
        ('"default";r=0;t=60, "burst";r=0;t=2', '"default";q=1200;w=300, "burst";q=3;w=1', 60),
        ("r=0;t=60", "", 0),
        ('"default";r=many;t=60', "", 0),
        ('"default";r=0', "", 0),
        ("", "", 0),
    ],
)
def test_little_left_of_any_limit_is_a_wait_until_its_reset(ratelimit: str, policy: str, wait: int) -> None:
    assert asked_to_wait(answer(ratelimit=ratelimit, ratelimit_policy=policy)) == wait


def test_the_tightest_limit_tells_the_requests_left() -> None:
    assert remaining(answer(ratelimit='"default";r=900;t=60, "burst";r=7;t=2')) == 7
    assert remaining(answer()) is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40))
def test_whatever_the_header_holds_the_wait_is_bounded(header: str) -> None:
    said = httpx.Response(503, headers=[(b"retry-after", header.encode("latin-1"))])
    wait = retry_after(said)
    assert wait is None or 0 <= wait <= LONGEST_WAIT


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("status", [429, 400, 403])
def test_a_daily_limit_waits_until_midnight_of_the_server(skew: int, status: int) -> None:
    now = (int(time.time()) + skew) // 86_400 * 86_400 + 3_600
    body = {"success": False, "errors": [{"code": 10048, "message": "free usage limit for today"}], "result": None}
    error = failure(httpx.Response(status, json=body, headers={"date": date(now)}))
    assert isinstance(error, DailyLimitReached)
    assert error.retry_after == 23 * 3_600
