"""All source files of a search as one program: its names, and who calls its functions. Pure: no Django.

Order and branches are ignored: a name stands for everything that is ever stored under it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from posixpath import dirname, join, normpath

from kvops.references.engine.declarations import Declarations, Tables
from kvops.references.engine.nodes import PASSING, Handle, Import, declaration_of, plain
from kvops.references.engine.syntax import Source, SyntaxNode

_ENDINGS = ("", ".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")


class Program(Tables):
    """The names, stores, calls and exports of all files."""

    def __init__(self, sources: Iterable[Source], packages: Mapping[str, str]) -> None:
        super().__init__()
        self.sources = {source.file: source for source in sources if source.root is not None}
        self.calls: defaultdict[Handle | str, list[SyntaxNode]] = defaultdict(list)
        self.loose: defaultdict[Handle | str, list[SyntaxNode]] = defaultdict(list)
        self.packages = packages
        for source in self.sources.values():
            Declarations(self, source).run()
        for source in self.sources.values():
            self._use(source)

    def modules(self, source: Source, module: str) -> list[str]:
        """The files that the name of a module in this file may mean; none for a package from elsewhere."""
        if module.startswith("."):
            return self._file(normpath(join(dirname(source.file), module)))
        for package, folder in self.packages.items():
            if module == package or module.startswith(f"{package}/"):
                return [file for file in self.sources if file.startswith(folder)]
        head, _, tail = module.partition("/")
        if head in {"@", "~", "#", "$lib", "src"} or head.startswith(("#", "$")):
            return [file for file in self.sources if _stem(file).endswith(f"/{tail}") or _stem(file) == tail]
        return [file for file in self.sources if _stem(file).endswith(f"/{module}") or _stem(file) == module]

    def is_aliased(self, node: SyntaxNode) -> bool:
        """Whether an object may be reached by another name than that of its variable."""
        for above in (node, *node.up()):
            if above.kind == "variable_declarator":
                return any(self.loose.get(handle) for handle in self.handles_of(above.child("name")))
            if above.kind not in {"object", "array", "pair"} | PASSING:
                return True
        return True

    def _file(self, path: str) -> list[str]:
        stem = path.rsplit(".", 1)[0] if path.endswith((".js", ".mjs", ".cjs", ".jsx")) else path
        for base in (path, stem, f"{path}/index", stem + "/index"):
            for ending in _ENDINGS:
                if base + ending in self.sources:
                    return [base + ending]
        return []

    def _use(self, source: Source) -> None:
        for node in source.root.walk() if source.root else ():
            if node.kind in {"call_expression", "new_expression"}:
                callee = plain(node.child("function") or node.child("constructor"))
                for handle in self.handles_of(callee):
                    self.calls[handle].append(node)
            elif node.kind in _NAMES and _is_loose(node):
                for handle in self.handles_of(node):
                    self.loose[handle].append(node)

    def handles_of(self, node: SyntaxNode | None) -> Iterator[Handle | str]:
        """The handles under which a function is known that the expression names."""
        if node is None:
            return
        if node.kind in {"identifier", "shorthand_property_identifier"}:
            if declared := declaration_of(node):
                yield declared[0]
                for store in declared[1]:
                    if isinstance(store.source, Import):
                        yield store.source.name
                    elif store.path:
                        yield store.path[-1]
                    elif isinstance(store.source, SyntaxNode) and store.source.text.startswith("require("):
                        yield "default"
        elif node.kind == "member_expression" and (name := node.child("property")):
            yield name.text
        elif node.kind == "super":
            yield "super"


def _stem(file: str) -> str:
    stem = file.rsplit(".", 1)[0]
    return stem.removesuffix("/index")


_NAMES = frozenset({"identifier", "member_expression", "shorthand_property_identifier"})
_HOLDING = frozenset(
    {
        "arguments",
        "array",
        "assignment_expression",
        "binary_expression",
        "pair",
        "return_statement",
        "ternary_expression",
        "variable_declarator",
    }
)


def _is_loose(node: SyntaxNode) -> bool:
    """Whether a name is used other than to declare, to call, to export or to reach a property."""
    parent = node.parent
    if parent is not None and node.field == "object" and (taken := parent.child("property")):
        return taken.text in {"apply", "bind", "call"}
    if parent is None or node.field in {"name", "pattern", "left", "object", "function", "constructor", "parameter"}:
        return False
    if node.kind == "shorthand_property_identifier":
        return parent.parent is not None and parent.parent.kind == "arguments"
    return parent.kind in _HOLDING
