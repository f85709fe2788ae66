"""Runs a row to its end, resumes one that was cut short, and keeps its figures in the table."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.place import ROOT
from bench.table import commit, line
from tests.torture.rows import Found, TortureRow

RESULTS = ROOT / "bench" / "results" / "torture.md"
KEPT = ROOT / ".torture"
ABOVE = """\
The newest line of each figure of each row, in the order of measurement; git has the older ones.
"""
COLUMNS = ("row", "promise", "figure", "value", "target", "met", "n", "seed", "scale", "minutes", "commit")


def run(row: TortureRow, *, seed: int, n: int) -> int:
    """Run what is left of a row and put its figures into the table; how many of them missed their target.

    What the trials found is kept when one did.
    """
    KEPT.mkdir(exist_ok=True)
    kept = KEPT / f"{row.name}.{seed}.{n}.jsonl"
    done, before, commits = _kept(kept)
    commits[commit()] = None
    begun = time.monotonic()
    shown = begun
    with kept.open("a", encoding="utf-8") as file:
        for number, found in row.trials(seed, [number for number in range(n) if number not in done]):
            done[number] = found
            file.write(f"{json.dumps([number, found, time.monotonic() - begun, commit()])}\n")
            file.flush()
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                print(f"{row.name}: {len(done)} of {n}", file=sys.stderr, flush=True)
    minutes = (before + time.monotonic() - begun) / 60
    if len(done) != n:
        raise SystemExit(f"{row.name}: {len(done)} of {n} trials came back; the rest is missing.")
    missed = _write(
        row, list(done.values()), (str(n), str(seed), f"{row.scale:g}", f"{minutes:.1f}", " ".join(commits))
    )
    if missed:
        kept.replace(kept.with_suffix(".missed"))
    else:
        kept.unlink()
    return missed


def _kept(path: Path) -> tuple[dict[int, Found], float, dict[str, None]]:
    """The finished trials of earlier runs, the seconds they took, and the commits they were made at, each once."""
    done: dict[int, Found] = {}
    commits: dict[str, None] = {}
    seconds = last = 0.0
    for text in path.read_text("utf-8").splitlines() if path.exists() else []:
        number, found, at, made_at = json.loads(text)
        done[number] = found
        commits[made_at] = None
        seconds += at - last if at >= last else at
        last = at
    return done, seconds, commits


def _write(row: TortureRow, found: list[Found], more: tuple[str, ...]) -> int:
    missed = 0
    for figure in row.figures(found):
        met = "-" if not figure.relation else "yes" if figure.met else "NO"
        cells = [row.name, row.promises, figure.name, f"{figure.value:.6g}", figure.target, met, *more]
        print(line(cells), end="", flush=True)
        _keep(cells)
        missed += not figure.met
    return missed


def _keep(cells: Sequence[str]) -> None:
    """Put the figure at the end of the table, in place of an older one of the same row and name."""
    if not RESULTS.exists():
        RESULTS.write_text(f"{ABOVE}\n{line(COLUMNS)}{line(['---'] * len(COLUMNS))}", "utf-8")
    same = (cells[0], cells[2])
    kept = [one for one in RESULTS.read_text("utf-8").splitlines(keepends=True) if _named(one) != same]
    RESULTS.write_text("".join([*kept, line(cells)]), "utf-8")


def _named(text: str) -> tuple[str, ...]:
    """The row and the figure of a line of the table; nothing of any other line."""
    cells = [cell.strip() for cell in text.split("|")]
    return (cells[1], cells[3]) if len(cells) == len(COLUMNS) + 2 else ()
