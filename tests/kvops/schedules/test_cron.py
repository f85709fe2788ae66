"""Cron expressions: when they are due on clocks that are put forward and back, and what they say in words."""

from datetime import UTC, datetime
from itertools import islice

import pytest
from django.utils import translation

from kvops.schedules import cron


def due(expression: str, zone: str, after: str, n: int = 3) -> list[str]:
    """The next due times, in UTC."""
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    return [f"{time:%m-%d %H:%M}" for time in islice(cron.times(expression, zone, moment), n)]


def test_it_is_due_by_the_clock_of_its_zone() -> None:
    assert due("0 3 * * *", "Asia/Tokyo", "2026-05-01T17:59") == ["05-01 18:00", "05-02 18:00", "05-03 18:00"]
    assert due("0 3 * * *", "UTC", "2026-05-01T03:00") == ["05-02 03:00", "05-03 03:00", "05-04 03:00"]


def test_a_time_that_does_not_exist_is_due_when_the_clock_is_put_forward() -> None:
    assert due("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00") == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_a_time_that_exists_twice_is_due_the_first_time() -> None:
    assert due("30 2 * * *", "Europe/Berlin", "2026-10-24T10:00") == ["10-25 00:30", "10-26 01:30", "10-27 01:30"]
    # Asked between the two.
    assert due("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45", 1) == ["10-26 01:30"]


def test_due_times_that_fall_on_one_moment_are_one() -> None:
    assert due("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:20") == ["03-29 00:30", "03-29 01:00", "03-29 01:30"]


def test_an_hour_that_exists_twice_is_an_hour_of_one_due_time() -> None:
    assert due("0 * * * *", "America/New_York", "2026-11-01T04:30") == ["11-01 05:00", "11-01 07:00", "11-01 08:00"]


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "* * * * * *", "@daily", "0 0 30 2 *", "60 * * * *", "R R * * *", "0 0 * * 1#2", "x"]
)
def test_what_is_not_cron_or_never_due_is_refused_with_what_it_takes(expression: str) -> None:
    with pytest.raises(cron.NotCron, match="five fields"):
        cron.insist_cron(expression, "UTC")


def test_a_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(cron.NotCron, match="Asia/Tokyo"):
        cron.insist_cron("0 3 * * *", "JST")


WORDS = [
    ("* * * * *", "every minute", "毎分"),
    ("*/15 * * * *", "every 15 minutes", "15\xa0分ごと"),
    ("5,35 * * * *", "every hour at minute 5, 35", "毎時 5、35\xa0分"),
    ("17 */6 * * *", "every 6 hours at minute 17", "6\xa0時間ごと（17\xa0分）"),
    ("17 3 * * *", "every day at 03:17", "毎日 03:17"),
    ("0 3,15 * * *", "every day at 03:00, 15:00", "毎日 03:00、15:00"),
    ("0 3 * * mon-wed", "on Monday, Tuesday, Wednesday at 03:00", "月曜日、火曜日、水曜日 03:00"),
    ("0 3 * * 7", "on Sunday at 03:00", "日曜日 03:00"),
    ("0 3 1,15 * *", "on day 1, 15 of the month at 03:00", "毎月 1、15\xa0日 03:00"),
    ("0 3 1 1 *", "on day 1 of the month in January at 03:00", "毎月 1\xa0日 （1月） 03:00"),
    ("0 3 1 * mon", "on day 1 of the month or on Monday at 03:00", "毎月 1\xa0日または月曜日 03:00"),
    ("*/30 * * * sun", "on Sunday every 30 minutes", "日曜日 30\xa0分ごと"),
    ("*/7 1-5 * * *", "*/7 1-5 * * *", "*/7 1-5 * * *"),
]


@pytest.mark.parametrize(("expression", "english", "japanese"), WORDS)
def test_it_is_said_in_words(expression: str, english: str, japanese: str) -> None:
    said = []
    for language in ("en", "ja"):
        with translation.override(language):
            said.append(cron.words(expression))
    assert said == [english, japanese]
