"""`messages`: Slack is down for an hour, workers die while they send, transactions roll back.

The fake Slack's journal is the truth: each message that was posted arrives, none that was not, and none a second time,
but for those whose first try nobody can know about. Such a repetition must say that it is one.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from unittest.mock import patch

from django.db.models import F
from django_q.models import OrmQ

from audit import log
from kvops import timing
from kvops.models import Environment, Notification, NotificationEvent
from kvops.notifications import outbox
from tests.audit import flush
from tests.fakes.http import Reply
from tests.fakes.slack import FakeSlack
from tests.torture.rows import Found, TortureFigure, TortureRow, total

MESSAGES = 12
HOUR = 3600.0
AGAIN = "Sent again"
DOWN = (Reply(503), Reply(500), Reply(429, b"", {"Retry-After": "30"}), Reply(429))


class DiedBeforeWriting(BaseException):
    """The worker ended between sending and writing."""


class RolledBack(Exception):
    """What was to be told did not happen."""


class _MessageTrial:
    def __init__(self, rng: random.Random, slack: FakeSlack, environment: Environment) -> None:
        self.rng, self.slack, self.environment = rng, slack, environment
        self.deaths = self.lost_answers = 0
        self.elapsed = 0.0

    def found(self) -> Found:
        rng, slack = self.rng, self.slack
        posted = [self._post(number) for number in range(MESSAGES // 2)]
        begin, self.down = rng.uniform(0, 60), rng.choice(DOWN)
        later = list(range(MESSAGES // 2, MESSAGES))
        for _ in range(400):
            slack.down = self.down if begin <= self.elapsed < begin + HOUR else None
            if later and rng.random() < 0.3:
                posted.append(self._post(later.pop()))
            self._round(up=slack.down is None)
            self._pass(rng.uniform(5, 300))
            if self.elapsed > begin + HOUR and not later and not Notification.objects.undelivered().exists():
                break
        return self._judged([title for title in posted if title])

    def _post(self, number: int) -> str:
        """A message, sometimes in a transaction that fails; posted by two at times."""
        title, fails = f"message {number}", self.rng.random() < 0.2
        with suppress(RolledBack), log.transaction():
            for _ in range(self.rng.choice([1, 2])):
                outbox.post(
                    NotificationEvent.GENERATION_MADE,
                    subject=f"generation:{number}",
                    title=title,
                    environment=self.environment,
                )
            if fails:
                raise RolledBack
        return "" if fails else title

    def _round(self, *, up: bool) -> None:
        """A round of the sweep, and a worker that takes what it rang for, sometimes twice."""
        outbox.send_due()
        waiting = [int(row.task["args"][0]) for row in OrmQ.objects.order_by("pk")]
        OrmQ.objects.all().delete()
        for pk in waiting * self.rng.choice([1, 2]):
            if up and self.rng.random() < 0.05:
                self.lost_answers += 1
                self.slack.lose_the_answer()
            dies = up and self.rng.random() < 0.05
            with (
                suppress(DiedBeforeWriting),
                patch.object(outbox, "_delivered", self._die if dies else outbox._delivered),
            ):
                outbox.deliver(pk)
            self.slack.script.clear()

    def _die(self, _mine: Sequence[Notification]) -> None:
        self.deaths += 1
        raise DiedBeforeWriting

    def _pass(self, seconds: float) -> None:
        """Let time pass: what lies ahead comes nearer. The waits are scaled like every wait of the tests."""
        self.elapsed += seconds
        by = timedelta(seconds=seconds * timing.SCALE)
        Notification.objects.update(next_at=F("next_at") - by, claimed_at=F("claimed_at") - by)

    def _judged(self, posted: list[str]) -> Found:
        taken = Counter(self.slack.texts)
        unclear = Notification.objects.filter(unclear__gt=0).values_list("title", flat=True)
        marked = Counter(str(one["text"]) for one in self.slack.taken if AGAIN in str(one["blocks"]))
        return {
            "posted": len(posted),
            "lost": len(set(posted) - set(taken)),
            "invented": len(set(taken) - set(posted)),
            "twice": sum(n > 1 and title not in unclear for title, n in taken.items()),
            "silent": sum(max(0, n - 1 - marked[title]) for title, n in taken.items()),
            "repeated": sum(n - 1 for n in taken.values()),
            "undelivered": Notification.objects.undelivered().count(),
            "refused": self.slack.asked - len(self.slack.taken),
            "unknown": self.deaths + self.lost_answers,
        }


def _messages(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    for number in numbers:
        flush.empty_the_database()
        with FakeSlack() as slack, patch.dict(os.environ, {"TORTURE_SLACK": slack.webhook}):
            environment = Environment.objects.create(
                slug="qa", name="QA", order=1, read_token="env:R", write_token="env:W", slack="env:TORTURE_SLACK"
            )
            yield number, _MessageTrial(random.Random(f"{seed}/{number}"), slack, environment).found()


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    return [
        TortureFigure("messages", total(found, "posted")),
        TortureFigure("lost", total(found, "lost"), "==", 0),
        TortureFigure("not said to be delivered", total(found, "undelivered"), "==", 0),
        TortureFigure("told although it did not happen", total(found, "invented"), "==", 0),
        TortureFigure("sent twice although the first try was known", total(found, "twice"), "==", 0),
        TortureFigure("repetitions that do not say so", total(found, "silent"), "==", 0),
        TortureFigure("repetitions of what nobody could know about", total(found, "repeated")),
        TortureFigure("tries that Slack did not take", total(found, "refused"), ">=", len(found)),
        TortureFigure("workers that died while sending, and answers that got lost", total(found, "unknown")),
    ]


ROWS = (TortureRow("messages", "A9", n=200, slice=3, trials=_messages, figures=_figures),)
