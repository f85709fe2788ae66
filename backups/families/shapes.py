"""Unclassified keys grouped by the shape of their names: a proposal for each group to start a registration from.

The names are those that `sampling` read. A shape that only other names have is not seen, and the page says how many
names were read.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backups.families import sampling
from kvops.models import Category, Namespace

SHOWN = 60
"""Shapes on the page; the rest is counted."""
SAMPLES = 3
_MANY = 12
"""Different words in one place of otherwise equal names: from here on they stand for a placeholder."""

_PLACEHOLDERS = (
    ("<uuid>", re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")),
    ("<date>", re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ][\d.:]+Z?)?")),
    ("<number>", re.compile(r"\d+")),
    ("<hex>", re.compile(r"(?=[^\d]*\d)(?=.*[a-fA-F])[0-9a-fA-F]{8,}")),
    ("<mail>", re.compile(r"[^@\s:/]+@[^@\s:/]+\.[A-Za-z]+")),
    ("<id>", re.compile(r"(?=[^\d]*\d)(?=.*[A-Za-z])[A-Za-z0-9_-]{16,}")),
)
_INNER = re.compile(r"([._-])")
_MARK = re.compile(r"<[a-z]+>")
TEXT = "<text>"
_NARROWER = {"<number>", "<hex>"}
_HEX_LETTERS = re.compile(r"[0-9a-fA-F]{8,}")
"""Names of one kind may look narrower by chance: some hexadecimal ids have only digits, or only letters."""


@dataclass
class ShapeGroup:
    """The keys of one shape in one binding: the number seen in each environment, and a proposal."""

    binding: str
    shape: str
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    names: dict[str, str] = field(default_factory=dict)
    more: set[str] = field(default_factory=set)
    """The environments that may have more such keys than were seen."""
    samples: list[str] = field(default_factory=list)
    expiring: int = 0

    @property
    def keys(self) -> int:
        """The number of keys seen, in all environments."""
        return sum(self.seen.values())

    @property
    def counts(self) -> list[tuple[str, str, int, bool]]:
        """For each environment: slug, name, the keys seen, and whether there may be more."""
        return [(slug, self.names[slug], seen, slug in self.more) for slug, seen in self.seen.items()]

    @property
    def exact(self) -> bool:
        """Whether the shape is the name of one key."""
        return not _MARK.search(self.shape)

    @property
    def pattern(self) -> str:
        """The literal beginning of the shape; empty if it begins with a placeholder."""
        mark = _MARK.search(self.shape)
        return self.shape[: mark.start()] if mark else self.shape

    @property
    def proposal(self) -> str:
        """The proposed pattern as the pages show it."""
        return self.pattern if self.exact else f"{self.pattern}*"

    @property
    def category(self) -> str:
        """The proposed category: a cache if each key expires, settings for one name; otherwise a person decides."""
        if self.expiring == self.keys:  # of those that were read
            return Category.CACHE.value
        return Category.SETTINGS.value if self.exact else ""


@dataclass(frozen=True)
class ShapesFound:
    """The groups with the most keys seen, the number of the others, and the namespaces they come from."""

    groups: Sequence[ShapeGroup]
    hidden: int
    sampled: Sequence[sampling.SampledNamespace]


def found_shapes(namespaces: Sequence[Namespace]) -> ShapesFound:
    """The shapes of the unclassified keys of these namespaces, those with the most keys first."""
    sampled = sampling.sample(namespaces)
    groups: dict[tuple[str, str], ShapeGroup] = {}
    for binding in sorted({one.namespace.binding for one in sampled}):
        mine = [one for one in sampled if one.namespace.binding == binding]
        shapes = _merged({name: shape_of(name) for one in mine for name in one.names})
        for one in mine:
            for name, expiration in one.names.items():
                shape = shapes[name]
                group = groups.setdefault((binding, shape), ShapeGroup(binding, shape))
                _add(group, one, name, expiration)
    ranked = sorted(groups.values(), key=lambda group: (-group.keys, group.binding, group.shape))
    return ShapesFound(ranked[:SHOWN], max(len(ranked) - SHOWN, 0), sampled)


def _add(group: ShapeGroup, one: sampling.SampledNamespace, name: str, expiration: int | None) -> None:
    slug = one.namespace.environment.slug
    group.names[slug] = one.namespace.environment.name
    group.seen[slug] += 1
    group.expiring += expiration is not None
    if sampling.head_of(name) in one.partial or name[:1] in one.partial:
        group.more.add(slug)
    if len(group.samples) < SAMPLES and name not in group.samples:
        group.samples.append(name)


def shape_of(name: str) -> str:
    """The name with each number, UUID and so on as a placeholder: `session:<hex>`."""
    return "".join(_part(part) for part in sampling.CUT.split(name))


def _part(part: str) -> str:
    if placeholder := _placeholder(part):
        return placeholder
    inner = _INNER.split(part)
    return "".join(_placeholder(piece) or piece for piece in inner) if len(inner) > 1 else part


def _placeholder(text: str) -> str:
    return next((name for name, pattern in _PLACEHOLDERS if pattern.fullmatch(text)), "")


def _merged(shapes: Mapping[str, str]) -> dict[str, str]:
    """The shape of each name, with a placeholder where otherwise equal shapes have many different words."""
    parts = {shape: sampling.CUT.split(shape) for shape in set(shapes.values())}
    for place in range(0, max(map(len, parts.values()), default=0), 2):
        words: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for pieces in parts.values():
            if len(pieces) > place:
                words[_without(pieces, place)].add(pieces[place])
        for pieces in parts.values():
            if len(pieces) > place:
                pieces[place] = _common(pieces[place], words[_without(pieces, place)], first=place == 0)
    return {name: "".join(parts[shape]) for name, shape in shapes.items()}


def _common(word: str, words: set[str], *, first: bool) -> str:
    """The placeholder for a word that stands beside these others in the same place. A first word keeps its text."""
    for widest in ("<id>", "<hex>"):
        if widest in words and (word in _NARROWER or _HEX_LETTERS.fullmatch(word)):
            return widest
    literal = [one for one in words if not _MARK.search(one)]
    return TEXT if len(literal) > _MANY and not _MARK.search(word) and not first else word


def _without(pieces: Sequence[str], place: int) -> tuple[str, ...]:
    return (*pieces[:place], "", *pieces[place + 1 :])
