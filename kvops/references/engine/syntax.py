"""Source files as trees, by tree-sitter. Pure: no Django.

A tree keeps named nodes and operators only, and each node knows its parent. tree-sitter recovers from errors, so a
file that could not be parsed still has a tree.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from zlib import crc32

import tree_sitter_javascript
import tree_sitter_typescript
from tree_sitter import Language, Parser, Tree

MOST_BYTES = 8 * 1024 * 1024
"""Larger files are not parsed: they count as files that cannot be told."""

_JAVASCRIPT = Language(tree_sitter_javascript.language())
_TYPESCRIPT = Language(tree_sitter_typescript.language_typescript())
_TSX = Language(tree_sitter_typescript.language_tsx())
_GRAMMARS = {
    **dict.fromkeys(("js", "mjs", "cjs", "jsx"), (_JAVASCRIPT, _TSX)),
    **dict.fromkeys(("ts", "mts", "cts"), (_TYPESCRIPT, _TSX)),
    "tsx": (_TSX,),
    **dict.fromkeys(("vue", "svelte", "astro", "html", "htm"), (_TYPESCRIPT, _TSX)),
}
CODE = frozenset(_GRAMMARS)
_PAGES = frozenset({"vue", "svelte", "astro", "html", "htm"})
_SCRIPT = re.compile(
    r"""(<script\b(?:"[^"]*"|'[^']*'|[^>"'])*>)(.*?)(</script>)|\A\s*(---\r?\n)(.*?)(\n---)""",
    re.DOTALL | re.IGNORECASE,
)
_UNKNOWN_TO_GRAMMARS = (
    (re.compile(rb"""\btypeof\s+import\(\s*(["'])[^"'\n]*\1\s*\)"""), b"unknown"),
    (re.compile(rb"\bexport\s+type\s+(?=\*)"), b"export"),
    (re.compile(rb"(?<=\s)&(?=[\s{])"), b"|"),
)
"""Replacements for source that the grammars take for errors: types of modules, and `&` in the text of a page."""
_KEPT = frozenset({"get", "set"})
"""Anonymous nodes that are kept, besides those in the field `operator`."""


_FEW = 40
"""A node with more children is a list. Its children have no fields, and looking for them would take long."""


class SyntaxNode:
    """A node of a tree."""

    __slots__ = ("children", "end", "field", "kind", "names", "number", "parent", "source", "start")

    def __init__(self, kind: str, field: str | None, span: tuple[int, int], source: "Source") -> None:
        self.kind = kind
        self.field = field
        self.start, self.end = span
        self.source = source
        self.parent: SyntaxNode | None = None
        self.children: list[SyntaxNode] = []
        self.names: dict[str, list[object]] | None = None
        self.number = hash((source.number, self.start, self.end, len(kind)))

    def __hash__(self) -> int:
        return self.number  # the same in each process, so that one search of the same code tells the same

    def __repr__(self) -> str:
        return f"{self.source.file}:{self.start}-{self.end} {self.kind}"

    @property
    def text(self) -> str:
        """The text of the node."""
        return self.source.data[self.start : self.end].decode("utf-8", "replace")

    def child(self, field: str) -> "SyntaxNode | None":
        """The first child in the field."""
        return next((child for child in self.children if child.field == field), None)

    def all(self, field: str) -> list["SyntaxNode"]:
        """The children in the field."""
        return [child for child in self.children if child.field == field]

    def up(self) -> Iterator["SyntaxNode"]:
        """The parent, its parent, and so on."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def walk(self) -> Iterator["SyntaxNode"]:
        """The node and all below it, each before its children."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


class Source:
    """One file: its text, its lines, and its tree if it is code."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.number = crc32(file.encode("utf-8", "replace"))
        self.suffix = file.rpartition("/")[2].rpartition(".")[2].lower()
        self.lines = text.split("\n")
        self.data = text.encode("utf-8", "replace")
        self._starts = [0, *(found.end() for found in re.finditer(b"\n", self.data))]
        self.parsed = "\0" not in text and "\ufffd" not in text
        self.root: SyntaxNode | None = None
        if self.suffix in CODE:
            self._parse(text)

    def place(self, offset: int) -> tuple[int, int]:
        """The line and the column of a byte, both from 1."""
        row = bisect_right(self._starts, offset) - 1
        return row + 1, len(self.data[self._starts[row] : offset].decode("utf-8", "replace")) + 1

    def _parse(self, text: str) -> None:
        if len(self.data) > MOST_BYTES:
            self.parsed = False
            return
        code = _only_scripts(text).encode("utf-8", "replace") if self.suffix in _PAGES else self.data
        trees = []
        for grammar in _GRAMMARS[self.suffix]:
            for written in (code, _replaced(code)):
                trees.append(Parser(grammar).parse(written))
                if not trees[-1].root_node.has_error:
                    self.root = _rooted(trees[-1], self)
                    return
        self.parsed = False
        self.root = _rooted(trees[0], self)


def _replaced(code: bytes) -> bytes:
    """The code without what the grammars do not know. All places stay, and texts are read from the file itself."""
    for pattern, put in _UNKNOWN_TO_GRAMMARS:
        code = pattern.sub(lambda found, put=put: put.ljust(len(found.group())), code)  # type: ignore[misc]
    return code


def _only_scripts(text: str) -> str:
    """The page with everything but its scripts as blanks, so that places stay."""
    parts: list[str] = []
    end = 0
    for found in _SCRIPT.finditer(text):
        group = 2 if found.group(2) is not None else 5
        parts += [_blank(text[end : found.start(group)]), found.group(group)]
        end = found.end(group)
    return "".join([*parts, _blank(text[end:])])


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", lambda found: " " * len(found.group().encode()), text)


def _rooted(tree: Tree, source: Source) -> SyntaxNode:
    root = SyntaxNode("program", None, (0, len(source.data)), source)
    waiting = [(tree.root_node, root)]
    while waiting:
        parsed, node = waiting.pop()
        few = parsed.child_count <= _FEW
        for index, child in enumerate(parsed.children):
            field = parsed.field_name_for_child(index) if few else None
            if not (child.is_named or field == "operator" or child.type in _KEPT) or child.type == "comment":
                continue
            kept = SyntaxNode(child.type, field, (child.start_byte, child.end_byte), source)
            kept.parent = node
            node.children.append(kept)
            if child.child_count:
                waiting.append((child, kept))
    return root
