"""All source files of a search as one program: which names stand for what, and who calls what. Pure: no Django.

Order and branches are ignored: a name stands for everything that is ever stored under it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from posixpath import dirname, join, normpath

from kvops.references.syntax import Node, Source

FUNCTIONS = frozenset(
    {
        "function_declaration",
        "function_expression",
        "arrow_function",
        "method_definition",
        "generator_function",
        "generator_function_declaration",
    }
)
CLASSES = frozenset({"class_declaration", "class", "abstract_class_declaration"})
_DECLARED = frozenset({"function_declaration", "generator_function_declaration", "enum_declaration"}) | CLASSES
_SCOPES = FUNCTIONS | {"program", "statement_block", "for_statement", "for_in_statement", "catch_clause", "switch_body"}
_ENDINGS = ("", ".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")
_TESTS = ("test", "tests", "__tests__", "spec", "e2e")

ELEMENT = "[]"
"""The step of a path that stands for any element of a list."""

KEY = "{}"
"""The step of a path that stands for any name of a property."""


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """Whatever a function is called with at this position."""

    function: Node
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Import:
    """What another file exports under this name; `*` is all that it exports."""

    source: Source
    module: str
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Appended:
    """Text that is appended to a variable."""

    target: Node
    added: Node


@dataclass(frozen=True, slots=True, eq=False)
class Pushed:
    """Something that is added to a list."""

    added: Node


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """Something stored under a name: the part of its source that the path leads to. Without a source: anything."""

    source: Node | Param | Import | Appended | Pushed | None
    path: tuple[str, ...] = ()
    typed: str = ""


type Handle = tuple[int, str]
"""A name in the scope that declares it."""


class Program:
    """The names, stores, calls and exports of all files."""

    def __init__(self, sources: Iterable[Source], packages: Mapping[str, str]) -> None:
        self.sources = {source.file: source for source in sources if source.root is not None}
        self.properties: defaultdict[str, list[Store]] = defaultdict(list)
        self.own: defaultdict[Node, defaultdict[str, list[Store]]] = defaultdict(lambda: defaultdict(list))
        self.exports: defaultdict[str, defaultdict[str, list[Store]]] = defaultdict(lambda: defaultdict(list))
        self.starred: defaultdict[str, list[str]] = defaultdict(list)
        self.calls: defaultdict[Handle | str, list[Node]] = defaultdict(list)
        self.escaped: defaultdict[Handle | str, list[Node]] = defaultdict(list)
        self.packages = packages
        for source in self.sources.values():
            _Declaring(self, source).run()
        for source in self.sources.values():
            self._use(source)

    def declared(self, node: Node) -> tuple[Handle, list[Store]] | None:
        """The handle of the name of an identifier, and what is stored under it; None for a global."""
        name = node.text
        for scope in (node, *node.up()):
            if scope.names is not None and name in scope.names:
                return (id(scope), name), scope.names[name]
        return None

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
                    self.escaped[handle].append(node)

    def handles_of(self, node: Node | None) -> Iterator[Handle | str]:
        """The handles under which a function is known that the expression names."""
        if node is None:
            return
        if node.kind in {"identifier", "shorthand_property_identifier"}:
            if declared := self.declared(node):
                yield declared[0]
                for store in declared[1]:
                    if isinstance(store.source, Import):
                        yield store.source.name
                    elif store.path:
                        yield store.path[-1]
                    elif isinstance(store.source, Node) and store.source.text.startswith("require("):
                        yield "default"
        elif node.kind == "member_expression" and (name := node.child("property")):
            yield name.text
        elif node.kind == "super":
            yield "super"


def _stem(file: str) -> str:
    stem = file.rsplit(".", 1)[0]
    return stem.removesuffix("/index")


def is_test(file: str) -> bool:
    """Whether the file looks like a test."""
    parts = file.lower().split("/")
    return any(part in _TESTS for part in parts) or any(f".{word}." in parts[-1] for word in _TESTS)


def plain(node: Node | None) -> Node | None:
    """The expression without parentheses, types and `await`."""
    while node is not None and node.kind in PASSING and node.children:
        node = node.children[0]
    return node


PASSING = frozenset(
    {"parenthesized_expression", "await_expression", "as_expression", "satisfies_expression", "non_null_expression"}
)


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


def _is_loose(node: Node) -> bool:
    """Whether a name is used other than to declare, to call, to export or to reach a property."""
    parent = node.parent
    if parent is None or node.field in {"name", "pattern", "left", "object", "function", "constructor", "parameter"}:
        return False
    if node.kind == "shorthand_property_identifier":
        return parent.parent is not None and parent.parent.kind == "arguments"
    return parent.kind in _HOLDING


class _Declaring:
    """Declares the names of one file."""

    def __init__(self, program: Program, source: Source) -> None:
        self.program = program
        self.source = source
        self.exports = program.exports[source.file]

    def run(self) -> None:
        nodes = list(self.source.root.walk()) if self.source.root else []
        for node in nodes:
            if node.kind in _SCOPES:
                node.names = {}
        for node in nodes:
            if node.kind in FUNCTIONS:
                self._parameters(node)
            if method := getattr(self, f"_on_{node.kind}", None):
                method(node)
            if node.kind in _DECLARED and (name := node.child("name")):
                self._name(name, Store(node))
                if node.kind in CLASSES:
                    self._heirs(node)
        for node in nodes:
            if node.kind in {"assignment_expression", "augmented_assignment_expression"}:
                self._assign(node)
            elif node.kind == "call_expression":
                self._push(node)

    def _heirs(self, node: Node) -> None:
        for child in node.walk():
            if child.kind == "class_heritage":
                self.program.own[node]["super"] = [Store(child)]
                return

    def _name(self, name: Node, store: Store, *, hoisted: bool = False) -> None:
        for scope in name.up():
            if scope.names is None or (scope is name.parent and scope.kind in _DECLARED):
                continue
            if hoisted and scope.kind not in FUNCTIONS and scope.kind != "program":
                continue
            scope.names.setdefault(name.text, []).append(store)
            return

    def _declare(self, pattern: Node, store: Store, *, hoisted: bool = False) -> None:
        """Store something under the names of a pattern."""
        waiting = [(pattern, store)]
        while waiting:
            node, at = waiting.pop()
            if node.kind in {"identifier", "shorthand_property_identifier_pattern"}:
                step = (node.text,) if node.kind != "identifier" else ()
                self._name(node, Store(at.source, at.path + step, at.typed), hoisted=hoisted)
            elif node.kind in {"object_pattern", "array_pattern"}:
                step = (ELEMENT,) if node.kind == "array_pattern" else ()
                waiting += [(child, Store(at.source, at.path + step)) for child in node.children]
            elif node.kind == "pair_pattern" and (key := node.child("key")) and (value := node.child("value")):
                waiting.append((value, Store(at.source, (*at.path, named(key)))))
            elif node.kind in {"assignment_pattern", "object_assignment_pattern"} and len(node.children) > 1:
                waiting += [(node.children[0], at), (node.children[0], Store(node.children[-1]))]
            elif node.kind == "rest_pattern" and node.children:
                waiting.append((node.children[0], at))
            elif node.kind in {"member_expression", "subscript_expression"}:
                self._member(node, at)

    def _parameters(self, function: Node) -> None:
        listed = function.child("parameters")
        single = function.child("parameter")
        index = 0
        for node in [single] if single else listed.children if listed else []:
            pattern = (node.child("pattern") or node) if node.kind.endswith("_parameter") else node
            if pattern.kind == "this" or node.kind == "decorator":
                continue
            typed = type_of(node)
            self._declare(pattern, Store(Param(function, index), (), typed))
            if value := node.child("value"):
                self._declare(pattern, Store(value))
            if any(child.kind in {"accessibility_modifier", "readonly"} for child in node.children) or (
                node.kind == "required_parameter" and node.text.startswith("readonly ")
            ):
                self._own(node, pattern.text, Store(Param(function, index), (), typed))
            index += 1

    def _own(self, node: Node, name: str, store: Store) -> None:
        """Store something in a property of the class, or of the object, around the node."""
        self.program.properties[name].append(store)
        for holder in node.up():
            if holder.kind in CLASSES or (holder.kind == "object" and node.parent is holder):
                self.program.own[holder][name].append(store)
                return

    def _member(self, target: Node, store: Store) -> None:
        """Store something in the property that the expression names."""
        name = target.child("property")
        index = target.child("index")
        text = name.text if name else text_of(index) if index else None
        target_object = target.child("object")
        if text is None or target_object is None:
            return
        if target_object.kind == "this":
            self._own(target, text, store)
            return
        self.program.properties[text].append(store)
        owner = target_object.text
        if owner in {"exports", "module.exports"}:
            self.exports[text].append(store)
        elif target.text == "module.exports":
            self.exports["default"].append(store)
            self.exports["*"].append(store)

    def _push(self, node: Node) -> None:
        callee, passed = node.child("function"), node.child("arguments")
        name = callee.child("property") if callee else None
        target = callee.child("object") if callee else None
        if name is None or target is None or passed is None or name.text not in {"push", "unshift", "add"}:
            return
        declared = self.program.declared(target) if target.kind == "identifier" else None
        for added in passed.children if declared else []:
            declared[1].append(Store(Pushed(added)))

    def _assign(self, node: Node) -> None:
        left, right = node.child("left"), node.child("right")
        if left is None or right is None:
            return
        operator = node.child("operator")
        appended = operator is not None and operator.kind == "+="
        store = Store(Appended(left, right) if appended else right)
        if left.kind == "identifier":
            if declared := self.program.declared(left):
                declared[1].append(store)
        elif not appended:
            self._declare_assigned(left, store)

    def _declare_assigned(self, left: Node, store: Store) -> None:
        if left.kind in {"member_expression", "subscript_expression"}:
            self._member(left, store)
        else:
            self._declare(left, store, hoisted=True)

    def _on_variable_declarator(self, node: Node) -> None:
        name, value = node.child("name"), node.child("value")
        if name is not None:
            hoisted = node.parent is not None and node.parent.kind == "variable_declaration"
            empty = value is None and not _in_for(node)
            if not empty or type_of(node):
                self._declare(name, Store(value, (), type_of(node)), hoisted=hoisted)
            elif name.kind == "identifier" and not _is_ambient(node):
                self._nothing(name, hoisted=hoisted)

    def _nothing(self, name: Node, *, hoisted: bool) -> None:
        self._name(name, Store(name, ("undefined",)), hoisted=hoisted)

    def _on_for_in_statement(self, node: Node) -> None:
        left, right = node.child("left"), node.child("right")
        if left is not None and right is not None:
            operator = node.child("operator")
            step = KEY if operator is not None and operator.kind == "in" else ELEMENT
            self._declare(left, Store(right, (step,)))

    def _on_catch_clause(self, node: Node) -> None:
        if parameter := node.child("parameter"):
            self._declare(parameter, Store(None))

    def _on_pair(self, node: Node) -> None:
        key, value = node.child("key"), node.child("value")
        if key is not None and value is not None:
            self._own(node, named(key), Store(value))

    def _on_shorthand_property_identifier(self, node: Node) -> None:
        self._own(node, node.text, Store(node))

    def _on_spread_element(self, node: Node) -> None:
        if node.parent is not None and node.parent.kind == "object":
            self.program.own[node.parent]["..."].append(Store(node.children[0]) if node.children else Store(None))

    def _on_method_definition(self, node: Node) -> None:
        if name := node.child("name"):
            getter = any(child.kind == "get" for child in node.children)
            self._own(node, named(name), Store(node, ("()",) if getter else ()))

    def _on_public_field_definition(self, node: Node) -> None:
        name = node.child("name") or node.child("property")
        if name is not None:
            value = node.child("value")
            if value is not None or type_of(node):
                self._own(node, named(name), Store(value, (), type_of(node)))

    _on_field_definition = _on_public_field_definition

    def _on_import_statement(self, node: Node) -> None:
        source = node.child("source")
        module = text_of(source) if source else None
        if module is None:
            return
        for child in node.walk():
            if child.kind == "import_specifier" and (name := child.child("name")):
                self._name(child.child("alias") or name, Store(Import(self.source, module, named(name))))
            elif child.kind == "namespace_import" and child.children:
                self._name(child.children[0], Store(Import(self.source, module, "*")))
            elif child.kind == "import_clause":
                for name in child.children:
                    if name.kind == "identifier":
                        self._name(name, Store(Import(self.source, module, "default")))

    def _on_export_statement(self, node: Node) -> None:
        source = node.child("source")
        module = text_of(source) if source else None
        for child in node.walk():
            if child.kind == "export_specifier" and (name := child.child("name")):
                exported = child.child("alias") or name
                store = Store(Import(self.source, module, named(name)) if module is not None else name)
                self.exports[named(exported)].append(store)
            elif child.kind == "namespace_export" and module is not None and child.children:
                self.exports[child.children[0].text].append(Store(Import(self.source, module, "*")))
        if module is not None and not any(child.kind != "string" for child in node.children):
            self.program.starred[self.source.file].append(module)
        if value := node.child("value"):
            self.exports["default"].append(Store(value))
        if (declaration := node.child("declaration")) is not None:
            self._exported(declaration)

    def _exported(self, declaration: Node) -> None:
        for child in (declaration, *declaration.children):
            name = child.child("name")
            if name is None or child.kind not in _DECLARED | {"variable_declarator"}:
                continue
            for part in name.walk():
                if part.kind in {"identifier", "type_identifier", "shorthand_property_identifier_pattern"}:
                    self.exports[part.text].append(Store(part))
            if child is declaration:
                self.exports["default"].append(Store(child))


def _in_for(node: Node) -> bool:
    return any(parent.kind == "for_in_statement" for parent in list(node.up())[:2])


def _is_ambient(node: Node) -> bool:
    return any(parent.kind == "ambient_declaration" for parent in list(node.up())[:2])


def named(node: Node) -> str:
    """The name of a property."""
    if node.kind == "computed_property_name" and node.children:
        node = node.children[0]
    return text_of(node) if node.kind == "string" else node.text


def type_of(node: Node) -> str:
    """The type that is written at a declaration."""
    annotation = next((child for child in node.children if child.kind == "type_annotation"), None)
    return annotation.text.lstrip(": ") if annotation else ""


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}


def text_of(node: Node) -> str:
    """The text of a string, with its escapes resolved."""
    return "".join(escaped(child) if child.kind == "escape_sequence" else child.text for child in node.children)


def escaped(node: Node) -> str:
    """The character of an escape sequence."""
    body = node.text[1:]
    try:
        if body[:1] in {"x", "u"}:
            return chr(int(body[1:].strip("{}"), 16))
    except (ValueError, OverflowError):
        return ""
    return _ESCAPES.get(body, "" if body[:1] in "\r\n" else body)
