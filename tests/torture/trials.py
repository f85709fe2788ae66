"""One trial of the rows `crashes` and `stops`, in a lane."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from functools import partial
from random import Random

from audit.actions import Action
from audit.models import Entry
from kvops import timing
from kvops.models import Run
from tests.torture import trial_estate, verdict
from tests.torture.forked_workers import DONE
from tests.torture.rows import Found, total
from tests.torture.trial_estate import VARIANTS, EstateTrial, Scene, Stand, main_job

TRIES = 5
"""How often a boundary is tried that is a matter of moments, and then looked for in a job that nobody disturbs."""

BY_THE_CLOCK = ("commit.kvops_run", "commit.kvops_budgetspend", "commit.django_q_ormq+kvops_run")
"""Renewals of a lease, requests taken from the budget, bells rung again: as many as time passes, fewer when idle.

How often is chance, whether at all is not: see `crashes.figures`.
"""


@dataclass(frozen=True)
class TrialKind:
    """A kind of trial: what is worked on, where, and how it is judged.

    So many `trials` have every boundary once: more than any of its steps has boundaries.
    """

    job: str
    scene: Scene
    verdict: Callable[[EstateTrial], Found]
    trials: int


KINDS = (
    *(
        TrialKind("tests.torture.main_job.MainJob", partial(main_job, variant=variant), verdict.of_main_job, 360)
        for variant in range(VARIANTS)
    ),
    TrialKind("tests.torture.restore_job.RestoreJob", trial_estate.lost, verdict.of_restore, 60),
    TrialKind("tests.torture.restore_job.RestoreJob", trial_estate.lost_alone, verdict.of_restore, 60),
    TrialKind("tests.torture.change_job.ChangeJob", trial_estate.settings_key, verdict.of_change, 120),
    TrialKind("tests.torture.clear_job.ClearJob", trial_estate.old_pages, verdict.of_clear, 120),
    TrialKind("tests.torture.bulk_job.BulkJob", trial_estate.cached, verdict.of_bulk, 60),
)


class NotRepeatable(Exception):
    """The job did not go to its end although nobody interfered."""


def names(stand: Stand, seed: int, kind: int) -> list[str]:
    """Every boundary of a kind, in the order in which it is passed; recorded by the first lane.

    A row that was cut short records anew, perhaps a few others: not all have had their turn then, as the table says.
    """
    record = stand.folder.parent / f"boundaries-{kind}.json"
    with record.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not record.exists():
            record.write_text(json.dumps(_recorded(stand, seed, kind)), "utf-8")
    known: list[str] = json.loads(record.read_text("utf-8"))
    return known


def _recorded(stand: Stand, seed: int, kind: int) -> list[str]:
    record = stand.folder / "passed.json"
    with stand.trial(f"{seed}:{kind}", KINDS[kind].scene):
        end = stand.to_the_end(stand.child(KINDS[kind].job, record=str(record)))
    if end.code != DONE:
        raise NotRepeatable((stand.folder / "children.log").read_text("utf-8")[-3000:])
    return list(dict.fromkeys(json.loads(record.read_text("utf-8"))))


def crash(stand: Stand, seed: int, number: int) -> Found:
    """A process dies at a boundary, the next one at another, in other steps of the same job; the last finishes it.

    A boundary that these deaths moved away is tried once more in a job of its own.
    """
    kind = number % len(KINDS)
    known = names(stand, seed, kind)
    mine = _of_one_trial(known, number // len(KINDS), of=KINDS[kind].trials)
    found, left = _dying(stand, seed, kind, mine)
    ended = [found, *(crash_at(stand, seed, kind, at) for at in sorted(left))]
    made = {name: total(ended, name) for name in set().union(*ended)}
    return made | {f"boundary {at}": 1.0 for at in mine} | {"boundaries": float(len(known))}


def _of_one_trial(known: Sequence[str], number: int, *, of: int) -> list[str]:
    """Boundaries of different steps: a death in one of them changes nothing in how the places of the others count."""
    of_a_step = sorted(known, key=lambda name: name.partition(".")[0])
    return of_a_step[number % of :: of]


def crash_at(stand: Stand, seed: int, kind: int, at: str) -> Found:
    """The same at the boundary of this name alone; whether it comes to it may be a matter of moments."""
    for _ in range(TRIES):
        found, left = _dying(stand, seed, kind, [at])
        if not left:
            break
    return found | _whether(not left, stand, seed, kind, at)


def _dying(stand: Stand, seed: int, kind: int, at: Sequence[str]) -> tuple[Found, set[str]]:
    """The verdict after a death at each of these, in the order they come, and those that were never reached."""
    left = set(at)
    struck = stand.folder / "struck.json"
    struck.unlink(missing_ok=True)
    mine = KINDS[kind]
    with stand.trial(f"{seed}:{kind}", mine.scene) as trial:
        while stand.to_the_end(stand.child(mine.job, at=sorted(left), struck=str(struck))).code == -signal.SIGKILL:
            left.remove(json.loads(struck.read_text("utf-8"))[0])
        return _judged(mine, trial, stand, at) | {"deaths": float(len(at) - len(left))}, left


def _judged(mine: TrialKind, trial: EstateTrial, stand: Stand, at: Sequence[str]) -> Found:
    """The verdict; a job that did not end is told with its runs and what its processes said."""
    found = mine.verdict(trial)
    if found["stuck"]:
        said = (stand.folder / "children.log").read_text("utf-8")[-5000:]
        print(f"{list(at)} did not end", *Run.objects.values(), said, sep="\n", file=sys.stderr, flush=True)
    return found


def _whether(reached: bool, stand: Stand, seed: int, kind: int, at: str) -> Found:
    """A boundary that was not reached is `missed`; `rare` when a job that nobody interferes with may not pass it."""
    if reached:
        return {}
    always = not by_the_clock(at) and all(at in _recorded(stand, seed, kind) for _ in range(TRIES))
    return {f"missed {at}" if always else f"rare {at}": 1.0}


def by_the_clock(at: str) -> bool:
    """Whether it depends on the time a job takes how often it passes this place."""
    return at.partition(".")[2].partition("#")[0] in BY_THE_CLOCK


LEASED = ("scan", "backup", "verify", "check", "delete", "confirm", "undo")
"""The jobs that hold a lease while they work."""


def stop(stand: Stand, seed: int, number: int) -> Found:
    """A process is paused at a boundary of the main job for three leases, while others take over; then it goes on.

    One that took over is paused in another job of the same clean-up.
    """
    variant, chance = number % VARIANTS, Random(f"{seed}:{number}")
    known = [name for name in names(stand, seed, variant) if name.partition(".")[0] in LEASED]
    one = chance.choice(known)
    other = chance.choice([name for name in known if name.partition(".")[0] != one.partition(".")[0]])
    found, left = _pausing(stand, seed, variant, [one, other])
    ended = [found, *(stop_at(stand, seed, variant, at) for at in sorted(left))]
    return {name: total(ended, name) for name in set().union(*ended)}


def stop_at(stand: Stand, seed: int, variant: int, at: str) -> Found:
    """The same at the boundary of this name alone; whether it comes to it may be a matter of moments."""
    for _ in range(TRIES):
        found, left = _pausing(stand, seed, variant, [at])
        if not left:
            break
    return found | _whether(not left, stand, seed, variant, at)


def _pausing(stand: Stand, seed: int, variant: int, at: Sequence[str]) -> tuple[Found, set[str]]:
    """The verdict after a pause at each of these, in the order they come, and those that were never reached."""
    left, fenced, late = set(at), 0, 0
    struck = stand.folder / "struck.json"
    struck.unlink(missing_ok=True)
    mine = KINDS[variant]
    with stand.trial(f"{seed}:{variant}", mine.scene) as trial:
        working = stand.child(mine.job, at=sorted(left), signal=signal.SIGSTOP, struck=str(struck))
        while stand.to_the_end(working).stopped:
            paused, stopped_at = working, struck.stat().st_mtime
            left.remove(json.loads(struck.read_text("utf-8"))[0])
            working = stand.child(mine.job, at=sorted(left), signal=signal.SIGSTOP, struck=str(struck))
            time.sleep(3 * timing.LEASE)
            os.kill(paused, signal.SIGCONT)
            fenced += stand.to_the_end(paused).code == -signal.SIGALRM
            # It may have asked for its lease at the moment it was stopped, never later.
            deadline = stopped_at + timing.TRUST + timing.REQUEST_TIMEOUT
            late += sum(call.pid == paused and call.at > deadline for call in [*trial.asked, *trial.bucket.asked])
        found = _judged(mine, trial, stand, at) | {
            "stops": float(len(at) - len(left)),
            "late": float(late),
            "fenced": float(fenced),
            "taken over": float(Entry.objects.filter(action=Action.RUN_TAKEN_OVER).count()),
        }
    return found, left


CHOSEN = (
    (crash_at, "delete.commit.chunk.intended#1.after"),
    (crash_at, "delete.http.bulk_delete#1.sent"),
    (stop_at, "delete.http.bulk_delete#1.before"),
)
"""Where it matters most; every run of the tests tries them."""


def tested(stand: Stand, seed: int, number: int) -> Found:
    """One of those."""
    trial, at = CHOSEN[number]
    return trial(stand, seed, 0, at)
