"""Sign-ins at one moment: each waits until the one before has counted."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest
from allauth.core.internal import ratelimit
from django.db import connection, connections
from django.test import Client

from tests import make

FORM = {"login": "operator@example.com", "password": make.PASSWORD}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of allauth's own would be given up at once, as on a machine that is busy for a second."""
    monkeypatch.setattr(ratelimit, "CACHE_LOCK_WAIT_TIMEOUT", 0)


def sign_in(form: dict[str, str]) -> int:
    try:
        return Client().post("/account/login/", form).status_code
    finally:
        connections.close_all()


def others_wait(number: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(cursor.fetchone()[0] >= number)


def counted_slowly(go_on: Callable[[], bool]) -> Callable[..., object]:
    """The count of allauth, whose first caller goes on once the others are answered or wait."""
    first, count = Event(), ratelimit.apply_rate

    def slow(*args: object, **options: object) -> object:
        if not first.is_set():
            first.set()
            while not go_on():
                pass
        return count(*args, **options)

    return slow


@pytest.mark.django_db(transaction=True)
def test_four_correct_sign_ins_at_one_moment_all_succeed(people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers: list[Future[int]] = []
        told = counted_slowly(lambda: others_wait(3) or sum(one.done() for one in answers) == 3)
        monkeypatch.setattr(ratelimit, "apply_rate", told)
        answers += [pool.submit(sign_in, FORM) for _ in range(4)]
    assert [one.result() for one in answers] == [302] * 4


@pytest.mark.django_db(transaction=True)
def test_correct_sign_ins_at_one_moment_leave_no_failure_behind(people: make.People) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sign_in, [FORM] * 8))
    wrong = [Client().post("/account/login/", {**FORM, "password": "wrong"}).status_code for _ in range(4)]
    assert (sign_in(FORM), wrong) == (302, [200] * 4)
