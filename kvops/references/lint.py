"""The policy kept where code is written: no unknown keys, and no write or delete of legacy ones. Pure: no Django.

Needs no database and no network. Exit 0 if the code keeps the policy, 1 if not, 2 for bad usage.
"""

import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from kvops.references.checkout import read_sources
from kvops.references.engine.matching import Matcher, Pattern
from kvops.references.redaction import redacted
from kvops.references.search import finder, read
from kvops.references.wrangler_config import kv_bindings
from kvops.refusals import Refused

LEGACY = "legacy"
CHANGES = ("write", "delete")
"""What code may do to no key of a legacy family: KVOps deletes them, after a backup."""


class LintRefused(Refused):
    """The policy cannot be read, so nothing is checked."""


def read_patterns(path: Path) -> list[Pattern]:
    """The key families of a policy, as far as code can name them. Raises LintRefused."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("family", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LintRefused(f"{path.name} is not a TOML file that can be read.") from error
    patterns: list[Pattern] = []
    for number, table in enumerate(tables if isinstance(tables, list) else [], 1):
        fields = table if isinstance(table, dict) else {}
        texts = [fields.get(name) for name in ("binding", "pattern", "category")]
        exact = fields.get("exact", False)
        if not all(isinstance(text, str) and text for text in texts) or not isinstance(exact, bool):
            raise LintRefused(f"{path.name}: family {number} needs binding, pattern and category.")
        binding, pattern, category = map(str, texts)
        patterns.append(Pattern(binding, pattern, exact, category))
    if not patterns:
        raise LintRefused(f"{path.name} has no [[family]].")
    return patterns


def offences(path: Path, patterns: Sequence[Pattern]) -> list[str]:
    """What in a checkout breaks the policy, a sentence each with its file and line. Raises SearchRefused."""
    sources = read_sources(path)
    files = read(sources)
    lines = {one.source.file: one for one in files}
    found = finder(files, Matcher(patterns, kv_bindings(sources)))
    legacy = {one.family for one in patterns if one.category == LEGACY}
    told: set[tuple[str, int, str]] = set()
    for one in found.run():
        if one.access in CHANGES and one.family in legacy and one.certainty != "unknown":
            source = one.node.source
            how = f"{one.access}s" if one.certainty == "certain" else f"can {one.access}"
            told.add((source.file, source.place(one.node.start)[0], f"{how} {one.family}, which is legacy."))
    for (node, name), access in found.strangers.items():
        place = node.source.file, node.source.place(node.start)[0]
        verb = {"read": "reads", "write": "writes", "list": "lists", "delete": "deletes"}.get(access, "uses")
        told.add((*place, f"{verb} {redacted(name)}, which no family knows."))
    for file in sorted(file for file, one in lines.items() if not one.source.parsed):
        told.add((file, 1, "cannot be parsed, so its keys are not known."))
    if found.evaluator.is_exhausted:
        told.add((min(lines), 1, "begins a program that is too large to be checked."))
    return [f"{file}:{line}: {sentence}" for file, line, sentence in sorted(told)]


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    parser = ArgumentParser(prog="python -m kvops.references", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("lint", help="check the keys that a checkout uses against a policy")
    command.add_argument("--path", type=Path, required=True, help="the checkout")
    command.add_argument("--policy", type=Path, required=True, help="the policy, such as policy.toml")
    options = parser.parse_args(arguments)
    try:
        told = offences(options.path, read_patterns(options.policy))
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"{sentence}\n" for sentence in told))
    return 1 if told else 0
