"""The search for code references, in memory and in a checkout. Pure: no Django.

A search leaves nothing out: what cannot be told is a hit of its own, and a path that cannot be read is refused.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path

from kvops.references.checkout import SearchRefused, commit_of, is_code, read_sources, repository_of
from kvops.references.engine.accesses import Finder
from kvops.references.engine.matching import Matcher, Pattern
from kvops.references.engine.program import Program
from kvops.references.engine.syntax import Source
from kvops.references.engine.texts import PAST_BINDINGS
from kvops.references.redaction import redacted
from kvops.references.report import (
    ANY_FAMILY,
    LONGEST_LINE,
    LONGEST_TEXT,
    Access,
    Certainty,
    Hit,
    Report,
    wrong_path,
)
from kvops.refusals import Sentence as _

__all__ = ["Pattern", "SearchRefused", "search_path", "search_sources"]


def search_sources(
    sources: Iterable[tuple[str, str]], patterns: Sequence[Pattern], *, commit: str, at: datetime, repository: str = ""
) -> Report:
    """Search sources, each a path and a text, such as the modules of a deployed script. Raises SearchRefused."""
    files = read(sources)
    matcher = Matcher(patterns)
    by_file = {one.source.file: one for one in files}
    hits: set[Hit] = set()
    search = finder(files, matcher)
    for found in search.run():
        lines = by_file[found.node.source.file]
        hits.add(lines.hit(found.node.start, found.node.end, found.certainty, found.access, found.family))
    for one in files:
        if one.source.root is None:
            hits |= one.plain(matcher)
    unparsed = sorted(
        one.source.file
        for one in files
        if is_code(one.source.file) and (search.evaluator.is_exhausted or not one.source.parsed)
    )
    # A program that is too large to be followed everywhere has one hit that says so, in its first file.
    partial = [one.source.file for one in files if is_code(one.source.file)][: search.evaluator.is_partial]
    hits |= {by_file[file].hit(0, 0, "unknown", "unknown", ANY_FAMILY) for file in (*unparsed, *partial)}
    ordered = sorted(hits, key=lambda hit: (hit.file, hit.line, hit.column, hit.family, hit.access, hit.certainty))
    return Report(commit, len(files), at, tuple(ordered), tuple(unparsed), repository)


def search_path(path: Path, patterns: Sequence[Pattern], *, commit: str, at: datetime, repository: str = "") -> Report:
    """Search a checkout. Without a commit or a repository, those that its `.git` names. Raises SearchRefused."""
    repository, commit = repository or repository_of(path), commit or commit_of(path)
    return search_sources(read_sources(path), patterns, commit=commit, at=at, repository=repository)


def read(sources: Iterable[tuple[str, str]]) -> list["Lines"]:
    """The sources with their trees. Raises SearchRefused."""
    files = [Lines(Source(file.removeprefix("./"), text)) for file, text in sources]
    if not files:
        raise SearchRefused(_("There are no source files, so a search says nothing."))
    for one in files:
        if wrong := wrong_path(one.source.file):
            raise SearchRefused(f"The name of the file {one.source.file!a} {wrong}.")
    return files


def finder(files: Sequence["Lines"], matcher: Matcher) -> Finder:
    """What finds the accesses of all files as one program."""
    sources = [one.source for one in files]
    return Finder(Program(sources, _packages(sources)), matcher)


def _packages(sources: Iterable[Source]) -> dict[str, str]:
    """The packages of a monorepo: the folder of each by its name."""
    found: dict[str, str] = {}
    for source in sources:
        folder, _, name = source.file.rpartition("package.json")
        if name or not source.file.endswith("package.json"):
            continue
        try:
            value = json.loads("\n".join(source.lines))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and isinstance(value.get("name"), str) and folder:
            found[value["name"]] = folder
    return found


class Lines:
    """A source and its lines without secrets."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @cached_property
    def redacted(self) -> list[str]:
        """The lines as a report may show them: without secrets and control characters."""
        text = redacted("\n".join(self.source.lines))
        return ["".join(char if char.isprintable() else " " for char in line) for line in text.split("\n")]

    def hit(self, start: int, end: int, certainty: Certainty, access: Access, family: str) -> Hit:
        """The hit at these bytes of the source."""
        line, column = self.source.place(start)
        last, until = self.source.place(end)
        rows = self.redacted[line - 1 : last]
        rows[-1] = rows[-1][: until - 1]
        rows[0] = rows[0][column - 1 :]
        return self._hit((line, column), " ".join(" ".join(rows).split()), certainty, access, family)

    def plain(self, matcher: Matcher) -> set[Hit]:
        """The hits of the source as plain text."""
        found: set[Hit] = set()
        for number, line in enumerate(self.source.lines, 1):
            named = matcher.in_line(line)
            for start, end in named:
                for family in matcher.mentioned(line[start:end]):
                    shown = self.redacted[number - 1][start : start + LONGEST_TEXT].split()
                    found.add(self._hit((number, start + 1), (shown or [""])[0], "possible", "unknown", family))
            if not named and (past := PAST_BINDINGS.search(line)):
                found.add(self._hit((number, past.start() + 1), past.group(), "unknown", "unknown", ANY_FAMILY))
        return found

    def _hit(self, place: tuple[int, int], text: str, certainty: Certainty, access: Access, family: str) -> Hit:
        line, column = place
        rows = ["", *self.redacted, ""][line - 1 : line + 2]
        from_column = max(0, column - 1 - LONGEST_LINE // 2) if len(rows[1]) > LONGEST_LINE else 0
        context = (
            rows[0][:LONGEST_LINE].rstrip(),
            rows[1][from_column : from_column + LONGEST_LINE].rstrip(),
            rows[2][:LONGEST_LINE].rstrip(),
        )
        return Hit(self.source.file, line, column, certainty, access, family, text[:LONGEST_TEXT].strip(), context)
