"""`python -m bench [name …]`: print each figure beside its target, keep it in results/; exit 1 if one is missed."""

import argparse
import os

from bench.fakes import SEED
from bench.figures import BENCHES
from bench.place import ROOT
from bench.table import commit, line

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
        RESULTS.write_text(f"{line(COLUMNS)}{line(['---'] * len(COLUMNS))}", "utf-8")
    print(line(COLUMNS), end="")
    missed, head, cores = 0, commit(), str(os.cpu_count())
    for name in names:
        for figure in BENCHES[name]():
            met = "-" if figure.bound is None else "yes" if figure.met else "NO"
            value = f"{figure.value:.4g}" if isinstance(figure.value, float) else str(figure.value)
            row = (name, figure.name, value, figure.target, met, str(figure.n), str(SEED), head, cores)
            print(line(row), end="", flush=True)
            with RESULTS.open("a", encoding="utf-8") as results:
                results.write(line(row))
            missed += not figure.met
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
