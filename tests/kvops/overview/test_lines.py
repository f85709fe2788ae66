"""What is to be done on the overview: the order of the lines, and the sentence above them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kvops.models import Environment
from kvops.overview import lines, page
from kvops.overview.board import Strip
from kvops.overview.key_alarms import Alarm
from kvops.overview.lines import Line, Urgency

QA = Environment(pk=1, slug="qa", name="QA", order=1, production=False)
PRODUCTION = Environment(pk=2, slug="production", name="Production", order=2, production=True)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def line(title: str, urgency: Urgency = Urgency.STEP, *where: Environment, hours: int | None = None) -> Line:
    since = None if hours is None else NOON - timedelta(hours=hours)
    return Line(urgency, title, "", f"/{title}/", "Open", [(one, f"/{one.slug}/") for one in where], since)


def sentence(*found: Line, restorable: int = 11, families: int = 11, may_operate: bool = True) -> str:
    ordered = lines.in_order(found)
    return lines.verdict(
        ordered, restorable=restorable, families=families, oldest="last night, 02:07", may_operate=may_operate
    ).sentence


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([line("a", Urgency.RED, PRODUCTION), line("b", Urgency.STEP, PRODUCTION)], "Production: 2 things to do"),
        ([line("a", Urgency.RED, QA), line("b", Urgency.STEP, PRODUCTION)], "Production: 1 thing to do"),
        ([line("a", Urgency.AMBER, QA)], "QA: 1 thing to do"),
        ([line("a", Urgency.RED), line("b", Urgency.AMBER, QA)], "2 things to do"),
        ([], "All 11 families can be restored to last night, 02:07; nothing waits"),
    ],
)
def test_the_verdict_is_one_sentence(found: Sequence[Line], said: str) -> None:
    assert sentence(*found) == said


def test_the_verdict_of_who_cannot_act_asks_to_look() -> None:
    assert sentence(line("a", Urgency.RED, PRODUCTION), may_operate=False) == "Production: 1 thing to look at"


def test_a_family_that_cannot_be_restored_is_in_the_verdict() -> None:
    assert sentence(restorable=7) == "7 of 11 families can be restored; nothing waits"


def test_without_a_policy_nothing_is_claimed_about_families() -> None:
    assert sentence(restorable=0, families=0) == "Nothing waits"


def test_the_lines_outside_production_are_counted_beside_the_verdict() -> None:
    found = [line("a", Urgency.RED, PRODUCTION), line("b", Urgency.STEP, QA), line("c")]
    told = lines.verdict(found, restorable=1, families=1, oldest="", may_operate=True)
    assert (told.level, told.others) == ("danger", 2)


def test_red_lines_come_before_steps_and_steps_before_amber_ones_the_oldest_first() -> None:
    found = [
        line("amber", Urgency.AMBER),
        line("timeless", Urgency.RED),
        line("new", Urgency.RED, hours=1),
        line("step"),
        line("old", Urgency.RED, hours=9),
    ]
    assert [one.title for one in lines.in_order(found)] == ["old", "new", "timeless", "step", "amber"]


def test_an_alarm_of_production_comes_before_an_older_one_of_qa() -> None:
    found = [line("qa", Urgency.RED, QA, hours=9), line("production", Urgency.RED, PRODUCTION, hours=1)]
    assert [one.title for one in lines.in_order(found)] == ["production", "qa"]


def of_kind(kind: str, n: int, *where: Environment, hours: int = 1) -> list[Line]:
    return [replace(line(f"{kind}{at}", Urgency.RED, *where, hours=hours), kind=kind) for at in range(n)]


def test_own_steps_are_shown_however_many_alarms_there_are() -> None:
    alarms = [one for kind in "abcdefg" for one in of_kind(kind, 1)]
    found = lines.in_order([*(line(f"step {at}") for at in range(4)), *alarms])
    shown, more = lines.folded(found)
    assert [one.title for one in shown] == ["a0", "b0", "step 0", "step 1"]
    assert [one.title for one in more] == ["c0", "d0", "e0", "f0", "g0", "step 2", "step 3"]


def test_alarms_of_one_kind_fold_behind_the_first_with_their_count() -> None:
    found = lines.in_order([*of_kind("a", 8, QA, hours=9), *of_kind("b", 1, PRODUCTION), line("step")])
    shown, more = lines.folded(found)
    assert [(one.title, one.alike) for one in shown[:3]] == [("b0", 0), ("a0", 6), ("a1", 0)]
    assert shown[-1].title == "step"
    assert len(shown) == lines.SHOWN
    assert len(more) == 6


def test_four_lines_do_not_fold() -> None:
    found = of_kind("a", 4)
    assert lines.folded(found) == (found, [])


def test_the_same_step_in_two_environments_is_one_line() -> None:
    [one] = lines.in_order([line("drill", Urgency.STEP, QA), line("drill", Urgency.STEP, PRODUCTION)])
    assert one.environments == [QA, PRODUCTION]


def alarm(environment: Environment, n: int, group: str = "all") -> Alarm:
    return Alarm(
        "danger",
        "difference.unattended",
        f"{environment.slug}: {n}",
        environment.name,
        f"/{environment.slug}/",
        "See",
        environment=environment,
        group=group,
        n=n,
        together=lambda n: f"{n} together",
    )


def test_alarms_of_one_group_are_one_line_that_leads_to_production() -> None:
    [one] = lines.from_alarms([alarm(QA, 2), alarm(PRODUCTION, 3)])
    assert (one.title, one.url) == ("5 together", "/production/")
    assert one.places == ((PRODUCTION, "/production/"), (QA, "/qa/"))


def test_alarms_of_two_groups_stay_two_lines() -> None:
    found = lines.from_alarms([alarm(QA, 2, "masters"), alarm(PRODUCTION, 3, "clinics")])
    assert [one.title for one in found] == ["qa: 2", "production: 3"]


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (datetime(2026, 11, 29, 17, 7, tzinfo=UTC), "last night, 02:07"),  # 02:07 in Tokyo
        (datetime(2026, 11, 30, 2, 0, tzinfo=UTC), "today, 11:00"),
        (datetime(2026, 11, 20, 2, 0, tzinfo=UTC), "2026-11-20 11:00"),
    ],
)
def test_the_time_of_a_backup_is_told_as_people_say_it(at: datetime, words: str) -> None:
    assert page.in_words(at, NOON) == words


def test_a_strip_counts_its_days_and_draws_each_state_apart() -> None:
    strip = Strip(["none", "on_time", "on_time", "late"])
    assert (strip.on_time, strip.late, strip.none) == (2, 1, 1)
    assert dict(strip.marks)["on_time"] == "M5 0h4v14h-4zM10 0h4v14h-4z"
