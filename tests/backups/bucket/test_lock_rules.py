"""What lock rules mean: held, too short, in part, disabled, missing; until when; and what else they lock."""

from datetime import UTC, datetime, timedelta

import pytest

from backups.bucket import lock_rules
from kvops.cloudflare import LockRule

AT = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400
LEAST = timedelta(days=14)


def rule(prefix: str = "backups/", *, enabled: bool = True, **condition: object) -> LockRule:
    return LockRule("r", prefix, enabled, **(condition or {"seconds": 14 * DAY}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([rule()], "held"),
        ([rule("")], "held"),
        ([rule("back")], "held"),
        ([rule(forever=True)], "held"),
        ([rule(date="2026-01-15T00:00:00+00:00")], "held"),
        ([rule(seconds=DAY), rule(seconds=20 * DAY)], "held"),
        ([rule(seconds=14 * DAY - 1)], "short"),
        ([rule(seconds=0)], "short"),
        ([rule(date="2026-01-14T23:59:59+00:00")], "short"),
        ([rule(seconds=DAY), rule(enabled=False)], "short"),
        ([rule("backups/kv/")], "narrow"),
        ([rule("backups/kv/"), rule(enabled=False)], "narrow"),
        ([rule(enabled=False)], "disabled"),
        ([rule("backups/kv/", enabled=False)], "missing"),
        ([rule("backupsx/")], "missing"),
        ([], "missing"),
    ],
)
def test_rules_are_judged_by_the_strictest_that_covers_everything(rules: list[LockRule], found: str) -> None:
    assert lock_rules.judge(rules, "backups/", put_at=AT, least=LEAST) == found


def test_an_object_stays_locked_until_the_last_of_its_rules_lets_go() -> None:
    rules = [
        rule(seconds=DAY),
        rule("", seconds=3 * DAY),
        rule(enabled=False, forever=True),
        rule("other", forever=True),
    ]
    assert lock_rules.locked_until_by(rules, "backups/x", AT) == lock_rules.Locked(AT + timedelta(days=3))


def test_an_object_may_never_be_let_go_or_not_be_locked_at_all() -> None:
    assert lock_rules.locked_until_by([rule(), rule(forever=True)], "backups/x", AT) == lock_rules.Locked(forever=True)
    assert lock_rules.locked_until_by([rule(seconds=2**62)], "backups/x", AT) == lock_rules.Locked(forever=True)
    assert lock_rules.locked_until_by([], "backups/x", AT) == lock_rules.Locked()


def test_rules_that_lock_other_data_are_told() -> None:
    wide = [rule(""), rule("backups")]
    assert lock_rules.wider([rule(), rule("backups/kv/"), rule("", enabled=False), *wide], "backups/") == wide
