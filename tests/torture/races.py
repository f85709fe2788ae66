"""`races` (A6): two people, or a person and the product, act on one clean-up at the same moment.

Two threads with a database connection each wait at a barrier; in two trials of three one of them then comes a moment
later, so that every part of one act meets every part of the other. `scenes` says which outcomes there may be and what
each leaves behind: the approval, the stage, the entries in the record, the runs, and what a worker then deletes.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Barrier
from unittest.mock import patch

from django.db import connection
from django.db.transaction import atomic
from django_q.models import OrmQ

from audit.models import Entry
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.models import (
    ApprovalRequest,
    BudgetSpend,
    EmergencyStop,
    Role,
    RoleGrant,
    Run,
)
from kvops.runs import driver as run_driver, emergency
from tests import make
from tests.gate import world as gate
from tests.torture import empty_estate
from tests.torture.race_acts import NotDone, RaceGround, to_the_first_chunk
from tests.torture.race_scenes import FIRST, SCENES, SECOND, After, Scene
from tests.torture.rows import Found, TortureFigure, TortureRow, total

REFUSED = (
    CleanupRefused,
    approval_gate.ApprovalRefused,
    run_driver.AlreadyOpen,
    run_driver.NotResumable,
    emergency.StopRefused,
    NotDone,
)
LATER = 0.04
"""Seconds by which one comes later at most: as long as the longest act."""


@dataclass
class Attempt:
    """What became of one act, and from when to when it went on."""

    done: bool = False
    raw: str = ""
    begun: float = 0.0
    over: float = 0.0

    def make(self, act: Callable[[], object], barrier: Barrier, later: float) -> None:
        """Do it together with the other."""
        barrier.wait(30)
        time.sleep(later)
        self.begun = time.monotonic()
        try:
            act()
            self.done = True
        except REFUSED:
            pass
        except Exception as raised:  # noqa: BLE001 # nobody may be shown this
            self.raw = repr(raised)
        self.over = time.monotonic()


def _race(ground: RaceGround, scene: Scene, pool: ThreadPoolExecutor) -> list[Attempt]:
    acts, attempts, barrier = (scene.first(ground), scene.second(ground)), [Attempt(), Attempt()], Barrier(2)
    later = [0.0, 0.0]
    if who := ground.rng.randrange(3):
        later[who - 1] = ground.rng.uniform(0, LATER)
    other = pool.submit(attempts[1].make, acts[1], barrier, later[1])
    attempts[0].make(acts[0], barrier, later[0])
    other.result(60)
    return attempts


def _entries(ground: RaceGround, scene: Scene, since: int) -> str:
    """What was recorded about the stage since then, as in After."""
    numbers = {person.pk: str(number) for number, person in enumerate(scene.who(ground))}
    subjects = [f"stage:{ground.stage.pk}", f"approval:{ground.asked().pk}"]
    subjects += [f"run:{pk}" for pk in Run.objects.filter(approval=ground.asked()).values_list("pk", flat=True)]
    found = Entry.objects.filter(seq__gt=since, subject__in=subjects).values_list("action", "actor_id")
    return ", ".join(sorted(f"{action} {numbers.get(who or 0, '-')}" for action, who in found))


def _work(ground: RaceGround) -> int:
    """Let a worker do what there is, twice, as if the queue had called it twice; how many deletes arrived."""
    for run in Run.objects.filter(approval=ground.asked()):
        to_the_first_chunk(run) if not run.cursor.get("ending") else None
        for _ in range(2):
            run_driver.drive(run.pk)
    return len(ground.estate.cloudflare.calls("bulk_delete"))


def _trial(ground: RaceGround, seed: int, number: int, pool: ThreadPoolExecutor) -> Found:
    name, scene = list(SCENES.items())[number % len(SCENES)]
    ground.rng = random.Random(f"{seed}:{number}")
    _as_before(ground)
    scene.until(ground)
    since = Entry.objects.latest("seq").seq
    one, two = _race(ground, scene, pool)
    left = After(ground.asked().state, ground.now().state, _entries(ground, scene, since), _work(ground))
    intended = CleanupChunk.objects.filter(stage=ground.stage, names__gt=0).count()
    fits = any(left == after.with_deletes(intended) for after in scene.outcomes.get((one.done, two.done), ()))
    raw = [attempt.raw for attempt in (one, two) if attempt.raw]
    if raw or not fits:
        print(f"trial {number}, {name}: {one.done}, {two.done}, {left}, {raw}")
    deleted = left.deleted or 0
    return {
        "wrong": not fits,
        "raw": len(raw),
        "doubled": max(0, deleted - 1) + max(0, Run.objects.filter(approval=ground.asked()).count() - 1),
        "overlapping": max(one.begun, two.begun) < min(one.over, two.over),
        "one": one.done != two.done,
        f"{name}: first": one.done and not two.done,
        f"{name}: second": two.done and not one.done,
    }


def _as_before(ground: RaceGround) -> None:
    """The stage is checked, nobody asked, nothing is stopped, everybody has their rights, and all keys are there."""
    stage, subject = ground.stage, f"stage:{ground.stage.pk}"
    with atomic(), gate.past_the_triggers():
        CleanupStage.objects.filter(pk=stage.pk).update(state="checked", approval=None, run=None)
        for rows in (
            EmergencyStop.objects.all(), CleanupException.objects.filter(stage=stage), BudgetSpend.objects.all(),
            CleanupChunk.objects.filter(stage=stage), Run.objects.filter(subject=subject, kind="delete"),
            OrmQ.objects.all(),
        ):  # fmt: skip
            rows._raw_delete("default")
        ApprovalRequest.objects.filter(subject=subject, state__in=["pending", "approved"]).update(state="withdrawn")
        RoleGrant.objects.update(revoked_at=None, revoked_by="")
    ground.estate.cloudflare.forget()
    for name in gate.NAMES:
        ground.estate.put(ground.estate.qa, name)


def _races(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    with ExitStack() as stack:
        estate = stack.enter_context(empty_estate.estate())
        stack.enter_context(patch.object(timing, "STALE", 0.0))
        world = gate.around(estate.qa, estate.production)
        reviewer2 = make.person("reviewer2", Role.REVIEWER)
        stage = gate.checked(gate.asked(world))
        gate.fill(estate.s3, stage)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(lambda: pool.submit(_hang_up).result(60))
        for one in (_do_not_wait_for_the_disk, lambda: pool.submit(_do_not_wait_for_the_disk).result(60)):
            one()
        ground = RaceGround(estate, world.people, reviewer2, stage)
        for number in numbers:
            yield number, _trial(ground, seed, number, pool)


def _do_not_wait_for_the_disk() -> None:
    """Commits of this thread's connection are as they always are, but for what a loss of power would leave of them."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")


def _hang_up() -> None:
    """Close this thread's connection."""
    connection.close()


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    open_ = [name for name, scene in SCENES.items() if {FIRST, SECOND} <= {*scene.outcomes}]
    both = [name for name in open_ if all(total(found, f"{name}: {side}") for side in ("first", "second"))]
    return [
        TortureFigure("races", len(found)),
        TortureFigure("races with another outcome than one that there may be", total(found, "wrong"), "==", 0),
        TortureFigure("effects that happened twice", total(found, "doubled"), "==", 0),
        TortureFigure("losers who were shown anything but a sentence", total(found, "raw"), "==", 0),
        TortureFigure("of them both at work at the same moment", total(found, "overlapping")),
        TortureFigure("races with one winner", total(found, "one")),
        TortureFigure("kinds of races in which either may win", len(open_)),
        TortureFigure("of them won by either at least once", len(both)),
    ]


ROWS = (TortureRow("races", "A6", n=10_000, slice=8, trials=_races, figures=_figures),)
