"""`python -m tests.torture.postgres_lane FOLDER LANE SCALE SEED`: a number per line in, what was found out."""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from sandbox import postgres
from sandbox.processes import ProcessFailed


class LosablePostgres:
    """A Postgres that can be lost and started again, with all that was committed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()

    def start(self) -> str:
        """Start it; its address."""
        for _ in range(50):
            with suppress(ProcessFailed):  # while what a killed one forked still holds its memory
                return self._running.enter_context(postgres.serving(self._folder))
            time.sleep(0.2)
        raise ProcessFailed("Postgres does not start again.")

    def lose(self, *, violently: bool) -> None:
        """Stop it, or kill its main process."""
        if violently:
            note = self._folder / "data" / "postmaster.pid"
            os.kill(int(note.read_text().splitlines()[0]), signal.SIGKILL)
        self._running.close()


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Asked to end too early: once, so that the cleaning up is not interrupted too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(argv: Sequence[str]) -> int:
    """Run the trials that are asked for until the input ends."""
    folder, name, scale, seed = Path(argv[0]), argv[1], argv[2], int(argv[3])
    answers, sys.stdout = sys.stdout, sys.stderr
    signal.signal(signal.SIGTERM, _leave)
    database = LosablePostgres(folder)
    with ExitStack() as stack:
        os.environ["DATABASE_URL"] = database.start()
        stack.callback(database.lose, violently=False)

        # The settings of the tests, then Django, then what needs both.
        import tests.environ  # noqa: F401, PLC0415, I001
        import django  # noqa: PLC0415

        os.environ["KVOPS_TIME_SCALE"] = scale
        django.setup()

        from django.utils.module_loading import import_string  # noqa: PLC0415

        lane = import_string(name)(folder, database)
        stack.callback(lane.close)
        for line in sys.stdin:
            print(json.dumps([int(line), lane.trial(seed, int(line))]), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
