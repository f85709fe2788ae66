"""`storms` (A23): 429 and 503 in storms, with every kind of Retry-After, over a scan, copies and a deletion.

Two clients share the limit, which is scaled down until it bites: so many requests in one second instead of 960 in 300.
The fake's journal judges: which keys were listed, copied and deleted, and how many requests any second held. Waits
longer than three seconds are skipped, because by then the limit's window is over anyway.
"""

import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from email.utils import formatdate
from threading import Thread
from unittest.mock import patch

from django.db import connection
from django.db.models.functions import Now

from backups.cleanup import preparation, requests as cleanup_requests
from backups.generations import start as generation_start
from backups.models import CleanupException, CleanupStage
from kvops import clock
from kvops.cloudflare import CloudflareError, RateLimited
from kvops.connections import clients
from kvops.inventory import scan as inventory_scan
from kvops.models import Budget, Key, Run
from kvops.runs import driver as run_driver
from tests import judge, make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.torture import empty_estate
from tests.torture.bucket import held
from tests.torture.rows import Found, TortureFigure, TortureRow, total

WINDOW = 1.0
"""Seconds, instead of 300."""
SKIPPED = 3.0
PATIENCE = 120.0
"""Seconds after which a trial is given up: it did not end by itself."""

CLEANED, SIDE, SIDES = "mastercache:", "master:", 20
Outcome = CleanupException.Outcome
ROUTES = ("keys", "namespace", "bulk_get", "value", "metadata", "bulk_delete")
SHAPES = (("bulk", 220, 90), ("exact", 40, 150))
"""How the values are read, how many keys are deleted, and the requests allowed in the window."""


def _storms(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    for number in numbers:
        with ExitStack() as stack:
            read, keys, limit = SHAPES[number % len(SHAPES)]
            stack.enter_context(patch("kvops.timing.BUDGET_CALLS", limit))
            stack.enter_context(patch("kvops.timing.BUDGET_WINDOW", WINDOW))
            stack.enter_context(patch("backups.execution.prepaid.SPARE", 10))
            stack.enter_context(patch("backups.execution.prepaid.SPARE_SINGLY", 10))
            estate = stack.enter_context(empty_estate.estate())
            yield number, _RateTrial(estate, random.Random(f"{seed}/{number}"), read, keys, limit).found()


class _RateTrial:
    """One storm."""

    def __init__(self, estate: make.Estate, rng: random.Random, read: str, keys: int, limit: int) -> None:
        self.estate, self.rng, self.limit = estate, rng, limit
        self.names = [f"{CLEANED}{number:04}" for number in range(keys)]
        self.side = [f"{SIDE}{number:04}" for number in range(SIDES)]
        self.people = make.everybody()
        self.begun = time.monotonic()
        self.unread = 0
        make.change_families(CLEANED, read=read)
        for name in (*self.names, *self.side):
            estate.put(estate.qa, name, name.encode())

    def found(self) -> Found:
        """What came of it."""
        self._storm()
        inventory_scan.start_scan(self.estate.qa, actor=make.SETUP)
        self._work()
        listed = Counter(Key.objects.values_list("name", flat=True))
        side = generation_start.start_backup(self.estate.qa, prefixes=[SIDE], actor=make.SETUP)
        request = cleanup_helpers.asked(self.people, CLEANED)
        cleanup_helpers.search_code(request)
        preparation.freeze_stage(cleanup_helpers.stage_of(request), by=self.people.operator)
        preparation.prepare_stage(cleanup_helpers.stage_of(request), by=self.people.operator)
        self._beside()
        cleanup_helpers.share(cleanup_helpers.stage_of(request), self.people)
        cleanup_requests.submit(cleanup_helpers.stage_of(request), by=self.people.operator)
        cleanup_helpers.approve(cleanup_helpers.stage_of(request), self.people)
        cleanup_requests.start_deletion(cleanup_helpers.stage_of(request), by=self.people.operator)
        self._work()
        side.refresh_from_db()
        return self._judged(cleanup_helpers.stage_of(request), listed, side.stem)

    def _storm(self) -> None:
        """Refusals of every route, in bursts, with every kind of header."""
        for route in ROUTES:
            for burst in range(self.rng.randrange(1, 3)):
                kind = self.rng.choice(["refusal", "refusal", "refusal", "effect_then_error", "reset"])
                self.estate.cloudflare.fault(
                    route,
                    kind,
                    nth=1 + burst * self.rng.randrange(1, 8),
                    times=self.rng.randrange(1, 6),
                    status=self.rng.choice([429, 429, 503]),
                    headers=self._headers(),
                )

    def _headers(self) -> dict[str, str]:
        """Retry-After as seconds or date, on a clock that is wrong, or not at all, or absurd."""
        now = time.time() + self.rng.choice([-86_400, -300, 0, 300, 86_400])
        wait = self.rng.choice([0, 0, 0, 1, 120])
        header = self.rng.choice(
            [
                str(wait),
                formatdate(now + wait, usegmt=True),
                formatdate(now + wait, usegmt=True),
                "",
                self.rng.choice(["-5", "999999999", "soon", "1e9"]),
            ]
        )
        return {"Date": formatdate(now, usegmt=True), **({"Retry-After": header} if header else {})}

    def _beside(self) -> None:
        """What has to be done, while another client of the same account reads values on the same limit."""
        other = Thread(target=self._read)
        other.start()
        self._work()
        other.join()

    def _read(self) -> None:
        try:
            with clients.reader(self.estate.qa.environment) as client:
                left = deque(self.side)
                while left and time.monotonic() - self.begun < PATIENCE:
                    try:
                        client.exact_get(self.estate.qa.namespace_id, left[0])
                        left.popleft()
                    except RateLimited as limited:
                        time.sleep(min(limited.retry_after, WINDOW))
                    except CloudflareError:
                        time.sleep(0.1)
            self.unread = len(left)
        finally:
            connection.close()

    def _work(self) -> None:
        """Do what is due until nothing is open; short waits are waited, long ones are skipped."""
        while time.monotonic() - self.begun < PATIENCE:
            waiting = dict(Run.objects.open().values_list("pk", "wake_at"))
            if not waiting:
                return
            due = [pk for pk, at in waiting.items() if at is None or clock.seconds_until(at) <= 0]
            for pk in due:
                run_driver.drive(pk)
            if not due:
                self._wait(min(clock.seconds_until(at) for at in waiting.values() if at), list(waiting))

    def _wait(self, seconds: float, waiting: list[int]) -> None:
        if seconds <= SKIPPED:
            time.sleep(max(0.0, seconds))
            return
        Run.objects.filter(pk__in=waiting, wake_at__isnull=False).update(wake_at=Now())
        Budget.objects.update(blocked_until=None)

    def _judged(self, stage: CleanupStage, listed: Counter[str], side: str) -> Found:
        journal = self.estate.cloudflare.journal
        expected = {*self.names, *self.side}
        times = Counter(name for call in journal for name, value in call.deleted.items() if value is not None)
        sent_again = sum(value is None for call in journal for value in call.deleted.values())
        backed_up = held(self.estate.s3.objects, side) or {}
        own = held(self.estate.s3.objects, stage.generation.stem) if stage.generation else {}
        present = {item.name for item in self.estate.cloudflare.namespace(make.NAMESPACES["qa"]).walk(CLEANED, None)}
        reported = set(stage.exceptions.filter(outcome=Outcome.FAILED).values_list("name", flat=True))
        open_or_failed = Run.objects.exclude(state=Run.State.SUCCEEDED).count()
        return {
            "skipped": len(expected - set(listed))
            + len(set(self.side) - set(backed_up))
            + len(set(self.names) - set(own or {}))
            + len(set(self.names) - set(times) - (reported & present)),
            "left and reported": len(reported & present),
            "doubled": sum(count > 1 for count in (*listed.values(), *times.values())) + sent_again,
            "not allowed": len(judge.problems(journal, judge.approved_sets(self.estate.s3.objects))),
            "not ended": int(stage.state != CleanupStage.State.CONFIRMED) + open_or_failed + self.unread,
            "most of the limit": most_in_a_window([call.at for call in journal]) / self.limit,
            "requests": len(journal),
            "refused": sum(call.status in {429, 503} for call in journal),
            "seconds": time.monotonic() - self.begun,
        }


def most_in_a_window(times: Sequence[float]) -> int:
    """The most requests that any window of the limit's length held."""
    ordered, first, most = sorted(times), 0, 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - WINDOW:
            first += 1
        most = max(most, last - first + 1)
    return most


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    return [
        TortureFigure("keys skipped", total(found, "skipped"), "==", 0),
        TortureFigure("keys left after three tries, and reported", total(found, "left and reported")),
        TortureFigure("keys doubled", total(found, "doubled"), "==", 0),
        TortureFigure("calls that were not allowed", total(found, "not allowed"), "==", 0),
        TortureFigure("trials or runs that did not end by themselves", total(found, "not ended"), "==", 0),
        TortureFigure(
            "most requests in any window, of the limit", max(one["most of the limit"] for one in found), "<=", 1
        ),
        TortureFigure("requests", total(found, "requests")),
        TortureFigure("answers 429 and 503", total(found, "refused"), ">=", len(found)),
    ]


ROWS = (TortureRow("storms", "A23", n=100, slice=0, trials=_storms, figures=_figures),)
