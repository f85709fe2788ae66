"""What an expression can stand for: texts with gaps, bindings, objects of the program. Pure: no Django."""

from dataclasses import dataclass
from itertools import product
from typing import Protocol
from zlib import crc32

from kvops.references.engine.nodes import Stored
from kvops.references.engine.syntax import SyntaxNode
from kvops.references.report import Access

GAP = "\0"
"""Stands in a text for a part that cannot be told."""

MOST = 200
"""Values of one expression. More are not told apart."""

METHODS: dict[str, Access] = {
    "get": "read",
    "getWithMetadata": "read",
    "put": "write",
    "list": "list",
    "delete": "delete",
}
CONTEXTS = frozenset({"env", "environment"})
"""Names of the object with all bindings."""

ANY_BINDING = "*"


def _number(text: str) -> int:
    """A hash that is the same in each process. Sets are walked in the same order, so a search tells the same again."""
    return crc32(text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Text:
    """A text with gaps, and the expressions that wrote it."""

    shape: str
    origins: frozenset[SyntaxNode] = frozenset()

    def __hash__(self) -> int:
        return _number(self.shape)


@dataclass(frozen=True, slots=True)
class Binding:
    """A KV namespace, under the name of its binding."""

    name: str

    def __hash__(self) -> int:
        return _number(self.name)


@dataclass(frozen=True, slots=True)
class Thing:
    """A function, class, object, list or enum of the program."""

    node: SyntaxNode


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a class of the program."""

    node: SyntaxNode


@dataclass(frozen=True, slots=True)
class Module:
    """All exports of a file."""

    file: str

    def __hash__(self) -> int:
        return _number(self.file)


@dataclass(frozen=True, slots=True)
class Many:
    """A list that the program makes, with its elements."""

    elements: "Values"


@dataclass(frozen=True, slots=True)
class Env:
    """The object with all bindings."""

    def __hash__(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function, which tells its parameters apart from other calls. Without a node: an unknown call."""

    function: SyntaxNode
    call: SyntaxNode | None
    within: "Call | None" = None
    depth: int = 1


type Value = Text | Binding | Thing | Instance | Module | Many | Env
type Values = frozenset[Value]
HOLE: Value = Text(GAP)
UNKNOWN: Values = frozenset({HOLE})
NOTHING: Values = frozenset()


class Evaluates(Protocol):
    """An evaluator, as its parts use it."""

    open: set[tuple[object, ...]]
    cuts: int

    def values(self, node: SyntaxNode | None, call: Call | None = None) -> Values:
        """Everything that the expression can stand for."""

    def stored(self, store: Stored, call: Call | None = None) -> Values:
        """Everything that the store can have stored."""

    def exported(self, file: str, name: str) -> Values:
        """Everything that the file exports under the name."""

    def member(self, base: Values, name: str) -> Values:
        """The property of a value."""

    def heirs(self, holder: SyntaxNode) -> list[SyntaxNode]:
        """The classes that extend the class, directly or not."""


def joined(parts: list[Values], node: SyntaxNode) -> Values:
    """All texts that the parts make one after the other. The node is one of their origins."""
    texts = [texts_of(part) for part in parts]
    size = 1
    for index, choices in enumerate(texts):
        size *= len(choices)
        if size > MOST:
            texts = [*texts[:index], [Text(GAP)]]
            break
    found: set[Value] = set()
    for chosen in product(*texts):
        shape = "".join(one.shape for one in chosen)
        while GAP + GAP in shape:
            shape = shape.replace(GAP + GAP, GAP)
        found.add(Text(shape, frozenset({node}).union(*(one.origins for one in chosen))))
    return frozenset(found)


def texts_of(values: Values) -> list[Text]:
    """The texts among the values. What is no text, such as the object with the bindings, names no key."""
    texts = [one for one in values if isinstance(one, Text)]
    return texts if texts and not any(isinstance(one, (Many, Instance)) for one in values) else [*texts, Text(GAP)]
