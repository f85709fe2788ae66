"""The tests of what changed since the branch began: `make test CHANGED=1`, or `python -m tests.changed [base]`.

A test file is chosen if it changed, if it imports a changed module, or if it is in the folder of that module's package.
A changed template stands for the modules that name it, and a changed table for the tests of all constraints. Modules
that import a changed one are not followed: within a few steps nearly every module reaches every other.
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from tests.test_layout import PRODUCT, ROOT, files, imports, module


def since(base: str) -> list[str]:
    """The paths that differ from where the branch left `base`, with those that no commit has yet."""

    def git(*command: str) -> list[str]:
        done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True)
        return done.stdout.split()

    [begun] = git("merge-base", "HEAD", base)
    return git("diff", "--name-only", "--diff-filter=d", begun) + git("ls-files", "--others", "--exclude-standard")


@cache
def graph() -> Mapping[str, tuple[Path, set[str]]]:
    """Each module of the product and of the tests, with its file and the modules that it imports."""
    known = {module(path): path for path in files(*PRODUCT, "sandbox", "tests")}
    return {name: (path, imports(path, known)) for name, path in known.items()}


def tests_of(paths: Iterable[str]) -> list[str]:
    """The test files to run for these paths; tests in a browser only where they changed themselves."""
    changed = {module(ROOT / path) for path in paths if path.endswith(".py")} & set(graph())
    for template in (path.removeprefix("templates/") for path in paths if path.startswith("templates/")):
        changed |= {name for name, (path, _imports) in graph().items() if template in path.read_text("utf-8")}
    folders = {ROOT / "tests" / Path(*name.split(".")[:-1]) for name in changed if not name.startswith("tests.")}
    changed |= {"tests.test_constraints" for name in changed if ".models." in name}
    chosen = [
        path.relative_to(ROOT).as_posix()
        for name, (path, targets) in graph().items()
        if path.name.startswith("test_")
        if name in changed or (not name.startswith("tests.browser") and (path.parent in folders or targets & changed))
    ]
    return sorted(chosen)


if __name__ == "__main__":
    print(*tests_of(since(sys.argv[1] if sys.argv[1:] else "main")) or sys.exit("No test is near what changed."))
