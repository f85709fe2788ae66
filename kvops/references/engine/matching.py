"""Which families a text of source code can name. Pure: no Django."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kvops.references.engine.values import GAP
from kvops.references.report import Certainty

SHORTEST = 3
"""Characters of a prefix that a text must begin with, where the text does not reach a call."""


@dataclass(frozen=True)
class Pattern:
    """One key family, as far as code can name it."""

    binding: str
    pattern: str
    exact: bool
    category: str

    @property
    def family(self) -> str:
        """The family as people read it."""
        return f"{self.binding} {self.pattern}{'' if self.exact else '*'}"

    def covers(self, name: str) -> bool:
        """Whether the name, or every name that begins with it, is of this pattern."""
        return name == self.pattern if self.exact else name.startswith(self.pattern)


class Matcher:
    """All families, by binding."""

    def __init__(self, patterns: Iterable[Pattern], bindings: Iterable[str] = ()) -> None:
        # The longest pattern wins; an exact one wins over a prefix of equal length.
        ranked = sorted(set(patterns), key=lambda one: (-len(one.pattern), not one.exact, one.family))
        self.patterns: Sequence[Pattern] = ranked
        self.by_binding: defaultdict[str, list[Pattern]] = defaultdict(list)
        for binding in bindings:  # known to be KV, without a family of its own
            self.by_binding[binding] = []
        for one in ranked:
            self.by_binding[one.binding].append(one)
        begin = "|".join(re.escape(one.pattern) + (r"(?![\w:.-])" if one.exact else "") for one in ranked)
        self._in_text = re.compile(rf"(?<![\w:.@/-])(?:{begin})") if ranked else None

    def named(self, shape: str, binding: str, *, listing: bool = False) -> dict[str, Certainty]:
        """The families of the binding that a key of this shape can be of."""
        head, gap, rest = shape.partition(GAP)
        patterns = self.by_binding[binding]
        found: dict[str, Certainty] = {}
        if listing:
            for one in patterns if head else []:
                if one.covers(head) or one.pattern.startswith(head):
                    found[one.family] = "possible" if gap and not one.covers(head) else "certain"
            return _winner(found, patterns, head)
        for one in patterns:
            if one.covers(head) and not (gap and one.exact):
                found[one.family] = "certain"
            elif gap and (_can_be(one, shape) if head else _begins(one, rest)):
                found[one.family] = "possible"
        return _winner(found, patterns, head)

    def mentioned(self, shape: str) -> set[str]:
        """The families, of any binding, that a text without a call can be about."""
        found: set[str] = set()
        for binding in self.by_binding:
            for family in self.named(shape, binding):
                found.add(family)
        head, gap, rest = shape.partition(GAP)
        if gap and len(head) < SHORTEST:
            found &= {one.family for one in self.patterns if one.covers(head) or (not head and _begins(one, rest))}
        quoted = [one.family for one in self.patterns if re.search(rf"[\"'`^]{re.escape(one.pattern)}", shape)]
        return found | set(quoted)

    def inside(self, shape: str) -> set[str]:
        """The families whose pattern stands anywhere in a text, such as in the address of a value."""
        return {one.family for one in self.patterns if one.pattern in shape}

    def in_line(self, line: str) -> list[tuple[int, int]]:
        """Where the patterns stand in a line of plain text."""
        return [found.span() for found in self._in_text.finditer(line)] if self._in_text else []


def _winner(found: dict[str, Certainty], patterns: Sequence[Pattern], head: str) -> dict[str, Certainty]:
    """The families without those whose names the head gives to a longer pattern."""
    covering = [one.family for one in patterns if one.family in found and one.covers(head)]
    for loser in covering[1:]:
        del found[loser]
    return found


def _can_be(one: Pattern, shape: str) -> bool:
    """Whether the gaps can be filled so that the text is of the pattern."""
    head = shape.partition(GAP)[0]
    if one.exact:
        return re.fullmatch(".*".join(map(re.escape, shape.split(GAP))), one.pattern, re.DOTALL) is not None
    return one.pattern.startswith(head)


def _begins(one: Pattern, rest: str) -> bool:
    """Whether a part behind a gap names the pattern by itself, as if the gap were empty."""
    return any(part.startswith(one.pattern) if not one.exact else part == one.pattern for part in rest.split(GAP))
