"""`python -m bench [name …]`: print each figure beside its target, keep it in results/; exit 1 if one is missed."""

import argparse
import os
import subprocess

from bench.fakes import SEED
from bench.figures import BENCHES
from bench.place import ROOT

RESULTS = ROOT / "bench" / "results" / "spine.md"
COLUMNS = ("bench", "figure", "value", "target", "met", "n", "seed", "commit", "cores")


def main() -> int:
    """Run the named benches, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"all, or some of {', '.join(BENCHES)}")
    names = parser.parse_args().names or list(BENCHES)
    if unknown := set(names) - set(BENCHES):
        parser.error(f"There is no {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}.")
    if not RESULTS.exists():
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"{_line(COLUMNS)}{_line(['---'] * len(COLUMNS))}", "utf-8")
    print(_line(COLUMNS), end="")
    missed, commit, cores = 0, _commit(), str(os.cpu_count())
    for name in names:
        for figure in BENCHES[name]():
            met = "-" if figure.bound is None else "yes" if figure.met else "NO"
            value = f"{figure.value:.4g}" if isinstance(figure.value, float) else str(figure.value)
            row = (name, figure.name, value, figure.target, met, str(figure.n), str(SEED), commit, cores)
            print(_line(row), end="", flush=True)
            with RESULTS.open("a", encoding="utf-8") as results:
                results.write(_line(row))
            missed += not figure.met
    return 1 if missed else 0


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _commit() -> str:
    """The commit measured; with a `+` when the product was changed since, `uncommitted` outside a repository."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", "audit", "backups", "kvops")
    return f"{head}{'+' if changed else ''}" if head else "uncommitted"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
