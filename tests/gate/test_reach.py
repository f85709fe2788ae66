"""How far one press reaches: the files of the product whose functions run in it. A number that grows is a decision."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType

from django.urls import get_resolver

from backups.cleanup.requests import start_deletion, submit
from backups.models import CleanupRequest
from tests.gate import world as gate
from tests.gate.world import GateWorld
from tests.test_layout import PRODUCT, ROOT

TOOL = sys.monitoring.PROFILER_ID


@contextmanager
def reached() -> Iterator[set[Path]]:
    """The files of the product, models aside, in which a function starts meanwhile."""
    paths = set[Path]()

    def note(code: CodeType, _offset: int) -> object:
        path = Path(code.co_filename)
        if (
            path.is_relative_to(ROOT)
            and (own := path.relative_to(ROOT)).parts[0] in PRODUCT
            and "models" not in str(own)
        ):
            paths.add(own)
        return sys.monitoring.DISABLE

    _ = get_resolver().url_patterns  # imports the views, whose modules are no part of the press
    sys.monitoring.use_tool_id(TOOL, "reach")
    sys.monitoring.register_callback(TOOL, sys.monitoring.events.PY_START, note)
    sys.monitoring.set_events(TOOL, sys.monitoring.events.PY_START)
    try:
        yield paths
    finally:
        sys.monitoring.set_events(TOOL, 0)
        sys.monitoring.restart_events()
        sys.monitoring.free_tool_id(TOOL)


def counts(paths: set[Path]) -> tuple[int, int]:
    """The files, and the packages that they are in."""
    return len(paths), len({path.parent for path in paths})


def test_submit_runs_through_so_many_files_and_packages(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.checked(request_)
    with reached() as paths:
        submit(stage, by=world.people.operator, ticked=True)
    assert counts(paths) == (39, 16), sorted(map(str, paths))


def test_the_claim_of_a_deletion_runs_through_so_many_files_and_packages(
    world: GateWorld, request_: CleanupRequest
) -> None:
    stage = gate.approved(world, request_)
    with reached() as paths:
        start_deletion(stage, by=world.people.operator)
    assert counts(paths) == (34, 16), sorted(map(str, paths))
