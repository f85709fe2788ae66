"""`python -m bench [--keys N] [name …]`: print each figure beside its target, keep it in results/.

Exit 1 if a target is missed. Without names, the benches of the spine; `scale` stands for all of scale. `pages` fills
10,000,000 keys unless `--keys` says otherwise.
"""

import argparse
import os
from collections.abc import Iterator

from bench import figures, scale
from bench.fakes import SEED
from bench.figures import MILLION, Figure
from bench.pages import figures as pages_figures
from bench.place import ROOT
from bench.table import commit, line

RESULTS = ROOT / "bench" / "results"
COLUMNS = ("bench", "figure", "value", "target", "met", "n", "seed", "commit", "cores")


def main() -> int:
    """Run the named benches."""
    known = ", ".join([*figures.BENCHES, *scale.BENCHES, *pages_figures.BENCHES])
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"scale, or some of {known}")
    parser.add_argument("--keys", type=int, help="of the benches of scale and of pages; fewer for a first look")
    asked = parser.parse_args()
    names = list(scale.BENCHES) if asked.names == ["scale"] else asked.names or list(figures.BENCHES)
    if unknown := set(names) - set(figures.BENCHES) - set(scale.BENCHES) - set(pages_figures.BENCHES):
        parser.error(f"There is no {', '.join(sorted(unknown))}; there are {known}.")
    print(line(COLUMNS), end="")
    return 1 if sum(_run(name, asked.keys) for name in names) else 0


def _run(name: str, keys: int | None) -> int:
    """Run one bench and keep its figures; how many missed their target."""
    file = "scale.md" if name in scale.BENCHES else "pages.md" if name in pages_figures.BENCHES else "spine.md"
    path = RESULTS / file
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{line(COLUMNS)}{line(['---'] * len(COLUMNS))}", "utf-8")
    missed, head, cores = 0, commit(), str(os.cpu_count())
    for figure in _figures(name, keys):
        met = "-" if figure.bound is None else "yes" if figure.met else "NO"
        value = f"{figure.value:.4g}" if isinstance(figure.value, float) else str(figure.value)
        row = (name, figure.name, value, figure.target, met, str(figure.n), str(SEED), head, cores)
        print(line(row), end="", flush=True)
        with path.open("a", encoding="utf-8") as results:
            results.write(line(row))
        missed += not figure.met
    return missed


def _figures(name: str, keys: int | None) -> Iterator[Figure]:
    if name in pages_figures.BENCHES:
        return pages_figures.BENCHES[name](keys or 10 * MILLION)
    return scale.BENCHES[name](keys or MILLION) if name in scale.BENCHES else figures.BENCHES[name]()


if __name__ == "__main__":
    raise SystemExit(main())
