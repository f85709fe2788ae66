"""What an expression can stand for: texts with holes, bindings, objects of the program. Pure: no Django.

Nothing is left out: what cannot be told is `HOLE`, any text.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product

from kvops.references.program import (
    CLASSES,
    ELEMENT,
    FUNCTIONS,
    KEY,
    PASSING,
    Appended,
    Handle,
    Import,
    Param,
    Program,
    Pushed,
    Store,
    escaped,
    is_test,
    named,
    plain,
    text_of,
)
from kvops.references.syntax import Node

GAP = "\0"
"""Stands in a text for a part that cannot be told."""

MOST = 200
"""Values of one expression. More are not told apart."""

DEEPEST = 100
METHODS = {"get": "read", "getWithMetadata": "read", "put": "write", "list": "list", "delete": "delete"}
_ITERATING = frozenset({"map", "forEach", "filter", "flatMap", "some", "every", "find", "findIndex", "findLast"})
_SAME = frozenset({"trim", "toString", "normalize", "sort", "reverse", "filter", "toSorted"})
_CONTEXTS = frozenset({"env", "environment"})
ANY_BINDING = "*"


@dataclass(frozen=True, slots=True)
class Text:
    """A text with gaps, and the expressions that wrote it."""

    shape: str
    origins: frozenset[Node] = frozenset()


@dataclass(frozen=True, slots=True)
class Binding:
    """A KV namespace, under the name of its binding."""

    name: str


@dataclass(frozen=True, slots=True)
class Thing:
    """A function, class, object, list or enum of the program."""

    node: Node


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a class of the program."""

    node: Node


@dataclass(frozen=True, slots=True)
class Module:
    """All exports of a file."""

    file: str


@dataclass(frozen=True, slots=True)
class Many:
    """A list that the program makes, with its elements."""

    elements: "Values"


@dataclass(frozen=True, slots=True)
class Env:
    """The object with all bindings."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function, which tells its parameters apart from other calls. Without a node: an unknown call."""

    function: Node
    call: Node | None
    within: "Call | None" = None
    depth: int = 1


type Value = Text | Binding | Thing | Instance | Module | Many | Env
type Values = frozenset[Value]
HOLE: Value = Text(GAP)
UNKNOWN: Values = frozenset({HOLE})
NOTHING: Values = frozenset()


class Evaluator:
    """Evaluates the expressions of a program."""

    def __init__(self, program: Program, bindings: Collection[str]) -> None:
        self.program = program
        self.bindings = frozenset(bindings)
        self._known: dict[tuple[Node, Call | None], Values] = {}
        self._open: set[tuple[object, ...]] = set()
        self._sites: dict[Node, tuple[list[Node], bool]] = {}

    def values(self, node: Node | None, call: Call | None = None) -> Values:
        """Everything that the expression can stand for."""
        node = plain(node)
        if node is None:
            return NOTHING
        key = (node, call)
        if key in self._known:
            return self._known[key]
        if key in self._open or len(self._open) > DEEPEST:
            return UNKNOWN
        self._open.add(key)
        try:
            method = self._kinds.get(node.kind)
            found = method(node, call) if method else UNKNOWN
        finally:
            self._open.discard(key)
        if len(found) > MOST:
            found = frozenset(islice(sorted(found, key=repr), MOST)) | UNKNOWN
        if not self._open or len(self._open) < DEEPEST // 2:
            self._known[key] = found
        return found

    @cached_property
    def _kinds(self) -> dict[str, Callable[[Node, Call | None], Values]]:
        return {
            "string": lambda node, _: frozenset({Text(text_of(node), frozenset({node}))}),
            "number": lambda node, _: frozenset({Text(node.text)}),
            "true": lambda *_: frozenset({Text("true")}),
            "false": lambda *_: frozenset({Text("false")}),
            "null": lambda *_: NOTHING,
            "undefined": lambda *_: NOTHING,
            "template_string": self._template,
            "binary_expression": self._binary,
            "ternary_expression": lambda node, call: self._either(node.children[1:], call),
            "sequence_expression": lambda node, call: self.values(node.children[-1], call),
            "assignment_expression": lambda node, call: self.values(node.child("right"), call),
            "augmented_assignment_expression": lambda node, call: self.values(node.child("right"), call) | UNKNOWN,
            "identifier": self._identifier,
            "type_identifier": self._identifier,
            "shorthand_property_identifier": self._identifier,
            "shorthand_property_identifier_pattern": self._identifier,
            "this": self._this,
            "super": self._super,
            "member_expression": self._property,
            "subscript_expression": self._subscript,
            "call_expression": self._call,
            "new_expression": self._new,
            "class_heritage": lambda node, call: self._either(node.children[:1], call),
            "extends_clause": lambda node, call: self._either(node.children[:1], call),
            **dict.fromkeys(
                FUNCTIONS | CLASSES | {"object", "array", "enum_declaration"},
                lambda node, _: frozenset({Thing(node)}),
            ),
        }

    # Texts

    def _template(self, node: Node, call: Call | None) -> Values:
        parts: list[Values] = []
        for child in node.children:
            if child.kind == "template_substitution":
                parts.append(self.values(child.children[0], call) if child.children else UNKNOWN)
            else:
                parts.append(frozenset({Text(escaped(child) if child.kind == "escape_sequence" else child.text)}))
        return joined(parts, node)

    def _binary(self, node: Node, call: Call | None) -> Values:
        operator = node.child("operator")
        kind = operator.kind if operator else ""
        left, right = node.child("left"), node.child("right")
        if kind == "+":
            parts: list[Values] = []
            here: Node | None = node
            while here is not None and here.kind == "binary_expression" and _operator(here) == "+":
                parts.append(self.values(here.child("right"), call))
                here = plain(here.child("left"))
            parts.append(self.values(here, call))
            return joined(parts[::-1], node)
        if kind in {"||", "??", "&&"}:
            return self._either([one for one in (left, right) if one], call)
        return UNKNOWN

    def _either(self, nodes: Iterable[Node], call: Call | None) -> Values:
        return frozenset[Value]().union(*(self.values(node, call) for node in nodes))

    # Names

    def _identifier(self, node: Node, call: Call | None) -> Values:
        name = node.text
        if name == "undefined":
            return NOTHING
        declared = self.program.declared(node)
        found: set[Value] = set()
        if declared is None:
            if name in self.bindings:
                return frozenset({Binding(name)})
            found.add(HOLE)
        else:
            for store in declared[1]:
                found |= self.stored(store, call)
        if name in _CONTEXTS:
            found.add(Env())
        return frozenset(found)

    def stored(self, store: Store, call: Call | None = None) -> Values:
        """Everything that the store can have stored."""
        if store.path == ("undefined",):
            return NOTHING
        found = self._source(store, call)
        for step in store.path:
            found = self._called(found, call) if step == "()" else self.member(found, step)
        if store.typed.startswith("KVNamespace") and not any(isinstance(one, Binding) for one in found):
            found |= {Binding(ANY_BINDING)}
        if store.typed in {"Env", "Bindings", "Cloudflare.Env"}:
            found |= {Env()}
        return found

    def _source(self, store: Store, call: Call | None) -> Values:
        source = store.source
        if source is None:
            return UNKNOWN
        key = ("source", source, call)
        if key in self._open:
            return UNKNOWN
        self._open.add(key)
        try:
            if isinstance(source, Param):
                return self._param(source, call)
            if isinstance(source, Import):
                return self._imported(source)
            if isinstance(source, Appended):
                before = self.values(source.target)
                added = self.values(source.added)
                return joined([before, added], source.added) | joined([before, added, UNKNOWN], source.added)
            if isinstance(source, Pushed):
                spread = source.added.kind == "spread_element"
                added = self.values(source.added.children[0] if spread else source.added)
                return added if spread else frozenset({Many(added)})
            return self.values(source, call)
        finally:
            self._open.discard(key)

    def _param(self, param: Param, call: Call | None) -> Values:
        at = call
        while at is not None and at.function is not param.function:
            at = at.within
        if at is not None and at.call is not None:
            return self._argument(at.call, param.index, at.within)
        if at is not None:
            return UNKNOWN | {Env()} if _is_handler(param) else UNKNOWN
        sites, complete = self.sites(param.function)
        if listed := self._iterated(param.function):
            return listed if param.index == 0 else UNKNOWN
        found: set[Value] = set() if complete else {HOLE}
        for site in sites:
            found |= self._argument(site, param.index, None)
        if HOLE in found and _is_handler(param):
            found.add(Env())
        return frozenset(found)

    def _argument(self, call: Node, index: int, within: Call | None) -> Values:
        given = arguments(call)
        if any(one.kind == "spread_element" for one in given[: index + 1]):
            return UNKNOWN
        return self.values(given[index], within) if index < len(given) else NOTHING

    def _iterated(self, function: Node) -> Values:
        """The elements that a list's method calls the function with."""
        listed = function.parent
        call = listed.parent if listed is not None and listed.kind == "arguments" else None
        callee = plain(call.child("function")) if call is not None else None
        if callee is None or callee.kind != "member_expression":
            return NOTHING
        name = callee.child("property")
        if name is None or name.text not in _ITERATING:
            return NOTHING
        return self.member(self.values(callee.child("object")), ELEMENT)

    def _imported(self, source: Import) -> Values:
        files = self.program.modules(source.source, source.module)
        if source.name == "env" and source.module == "cloudflare:workers":
            return frozenset({Env()})
        if not files:
            return UNKNOWN
        if source.name == "*":
            return frozenset(Module(file) for file in files)
        found: set[Value] = set()
        for file in files:
            found |= self._exported(file, source.name)
        return frozenset(found) or UNKNOWN

    def _exported(self, file: str, name: str) -> Values:
        key = ("export", file, name)
        if key in self._open:
            return NOTHING
        self._open.add(key)
        try:
            found: set[Value] = set()
            for store in self.program.exports[file].get(name, ()):
                found |= self.stored(store)
            for store in self.program.exports[file].get("*", ()):
                found |= self.member(self.stored(store), name) - UNKNOWN
            for module in self.program.starred[file]:
                for other in self.program.modules(self.program.sources[file], module):
                    found |= self._exported(other, name)
            return frozenset(found)
        finally:
            self._open.discard(key)

    # Properties

    def _this(self, node: Node, _: Call | None) -> Values:
        for holder in node.up():
            if holder.kind in CLASSES:
                return frozenset({Instance(holder)})
        return UNKNOWN

    def _super(self, node: Node, call: Call | None) -> Values:
        for holder in node.up():
            if holder.kind in CLASSES:
                return frozenset().union(*(self.stored(one, call) for one in self.program.own[holder]["super"]))
        return UNKNOWN

    def _property(self, node: Node, call: Call | None) -> Values:
        name = node.child("property")
        return self.member(self.values(node.child("object"), call), name.text) if name else UNKNOWN

    def _subscript(self, node: Node, call: Call | None) -> Values:
        base = self.values(node.child("object"), call)
        found: set[Value] = set()
        for step in self.values(node.child("index"), call):
            if isinstance(step, Text) and GAP not in step.shape:
                found |= self.member(base, ELEMENT if step.shape.isdecimal() else step.shape)
            elif Env() in base:
                found.add(Binding(ANY_BINDING))
            else:
                found |= self.member(base, ELEMENT)
        return frozenset(found) or UNKNOWN

    def member(self, base: Values, name: str) -> Values:
        """The property of a value, or with `ELEMENT` any property, with `KEY` the name of any property."""
        found: set[Value] = set()
        sure = bool(base)
        for one in base:
            part = self._own(one, name)
            if part is None:
                sure = False
            else:
                found |= part
        if sure and found:
            return frozenset(found)
        if name in self.bindings:
            return frozenset(found | {Binding(name)})
        if name in _CONTEXTS:
            found.add(Env())
        for store in self.program.properties.get(name, ()):
            key = ("property", store, None)
            if key not in self._open:
                self._open.add(key)
                found |= {one for one in self.stored(store) if not isinstance(one, Text)}
                self._open.discard(key)
        return frozenset(found | UNKNOWN)

    def _own(self, value: Value, name: str) -> Values | None:
        """The property of one value; None if it may have others than the program shows."""
        if isinstance(value, Many):
            return value.elements if name == ELEMENT else None
        if isinstance(value, Module):
            return self._exported(value.file, name) or None
        if not isinstance(value, (Thing, Instance)):
            return None
        if value.node.kind in {"array", "enum_declaration"} or name in {ELEMENT, KEY}:
            return self._listed(value.node, name)
        stores = self._stores(value.node, name)
        found: set[Value] = set()
        for store in stores:
            key = ("own", store, None)
            if key in self._open:
                return None
            self._open.add(key)
            found |= self.stored(store)
            self._open.discard(key)
        return frozenset(found) if stores else None

    def _stores(self, holder: Node, name: str, depth: int = 0) -> list[Store]:
        """What is stored under the name in an object or a class, or in what it extends or spreads."""
        own = self.program.own[holder]
        stores = list(own.get(name, ()))
        if stores or depth > 8:
            return stores
        for above in [*own.get("super", ()), *own.get("...", ())]:
            for one in self.stored(above):
                if isinstance(one, (Thing, Instance)):
                    stores += self._stores(one.node, name, depth + 1)
        return stores

    def _listed(self, node: Node, name: str) -> Values | None:
        found: set[Value] = set()
        if node.kind == "array":
            for child in node.children:
                if child.kind == "spread_element":
                    found |= self.member(self._either(child.children[:1], None), ELEMENT)
                else:
                    found |= self.values(child)
            return frozenset(found) if name not in {KEY, "length"} else None
        if node.kind == "enum_declaration":
            for part in node.walk():
                if part.kind == "enum_assignment" and (member := part.child("name") or part.children[0]):
                    if name in {ELEMENT, named(member)}:
                        found |= self.values(part.children[-1])
                    if name == KEY:
                        found.add(Text(named(member)))
            return frozenset(found) or None
        for key, stores in list(self.program.own[node].items()):
            if name == KEY:
                found.add(Text(key))
            else:
                for store in stores:
                    found |= self.stored(store)
        return frozenset(found) or None

    # Calls

    def _call(self, node: Node, call: Call | None) -> Values:
        callee = plain(node.child("function"))
        if callee is None:
            return UNKNOWN
        if callee.kind == "identifier" and callee.text == "require" and (given := arguments(node)):
            files = self.program.modules(node.source, given[0].text.strip("'\"`"))
            return frozenset(Module(file) for file in files) or UNKNOWN
        if callee.kind == "import" and (given := arguments(node)):
            files = self.program.modules(node.source, given[0].text.strip("'\"`"))
            return frozenset(Module(file) for file in files) or UNKNOWN
        if (special := self._built_in(node, callee, call)) is not None:
            return special
        return self._called(self.values(callee, call), call, node)

    def _called(self, callees: Values, call: Call | None, node: Node | None = None) -> Values:
        found: set[Value] = set()
        for callee in callees:
            function = callee.node if isinstance(callee, Thing) and callee.node.kind in FUNCTIONS else None
            depth = call.depth + 1 if call else 1
            if function is None or depth > 6:
                found.add(HOLE)
                continue
            inner = Call(function, node, call, depth) if node is not None else call
            for result in returned(function):
                found |= self.values(result, inner)
        return frozenset(found) or UNKNOWN

    def _built_in(self, node: Node, callee: Node, call: Call | None) -> Values | None:
        """The result of a method of texts, lists or Object; None for other calls."""
        name = callee.child("property")
        base, given = callee.child("object"), arguments(node)
        if callee.kind == "identifier" and callee.text == "String" and given:
            return self.values(given[0], call)
        if callee.kind != "member_expression" or name is None or base is None:
            return None
        if base.text == "Object" and given:
            if name.text == "freeze":
                return self.values(given[0], call)
            step = {"values": ELEMENT, "keys": KEY}.get(name.text)
            return frozenset({Many(self.member(self.values(given[0], call), step))}) if step else None
        if name.text in {"map", "flatMap"} and given and plain(given[0]) is not None:
            return frozenset({Many(self._called(self.values(given[0], call), call))})
        if name.text == "concat" and given:
            return joined([self.values(base, call), *(self.values(one, call) for one in given)], node)
        if name.text == "join" and (listed := plain(base)) is not None and listed.kind == "array":
            between = self.values(given[0], call) if given else frozenset({Text(",")})
            parts = [part for child in listed.children for part in (between, self.values(child, call))]
            return joined(parts[1:], node)
        if name.text in _SAME:
            return self.values(base, call)
        return None

    def _new(self, node: Node, call: Call | None) -> Values:
        made = self.values(node.child("constructor"), call)
        return frozenset(
            Instance(one.node) if isinstance(one, Thing) and one.node.kind in CLASSES else HOLE for one in made
        )

    def sites(self, function: Node) -> tuple[list[Node], bool]:
        """The calls of a function, and whether they are all."""
        if function in self._sites:
            return self._sites[function]
        self._sites[function] = ([], False)
        found: list[Node] = []
        complete = True
        for handle in self._handles(function):
            complete = complete and not any(
                isinstance(handle, tuple) or self._refers(one, function) for one in self.program.escaped[handle]
            )
            found += [one for one in self.program.calls.get(handle, ()) if self._calls(one, function)]
        found = list(dict.fromkeys(found))
        complete = complete and any(not is_test(one.source.file) for one in found)
        self._sites[function] = (found, complete)
        return self._sites[function]

    def _refers(self, node: Node, function: Node) -> bool:
        """Whether an expression other than a call may mean the function."""
        things = [one.node for one in self.values(node) if isinstance(one, Thing)]
        return function in things or not things

    def _handles(self, function: Node) -> list[Handle | str]:
        if function.kind == "method_definition" and (name := function.child("name")) and name.text == "constructor":
            named_by = next((holder for holder in function.up() if holder.kind in CLASSES), function)
            return [*self._names(named_by), "super"]
        return self._names(function)

    def _names(self, node: Node) -> list[Handle | str]:
        """The names that a function or a class goes by."""
        name = node.child("name")
        parent = node.parent
        while parent is not None and parent.kind in PASSING:
            parent = parent.parent
        if name is None and parent is not None:
            name = parent.child("name") or parent.child("key") or parent.child("property") or parent.child("left")
        if name is None:
            return ["default"]
        if name.kind == "member_expression":
            name = name.child("property") or name
        declared = self.program.declared(name)
        return [name.text, "default", *([declared[0]] if declared else [])]

    def _calls(self, call: Node, function: Node) -> bool:
        """Whether the call may call the function."""
        callee = plain(call.child("function") or call.child("constructor"))
        if callee is None:
            return False
        targets = self.values(callee)
        holder = next((one for one in function.up() if one.kind in CLASSES), None)
        for one in targets:
            if isinstance(one, Thing) and one.node in {function, holder}:
                return True
        if callee.kind != "member_expression" or any(isinstance(one, Thing) for one in targets):
            return False
        base = self.values(callee.child("object"))
        return not any(isinstance(one, (Binding, Instance)) for one in base)


def joined(parts: list[Values], node: Node) -> Values:
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


def arguments(call: Node) -> list[Node]:
    """What a call passes."""
    listed = call.child("arguments")
    return listed.children if listed is not None and listed.kind == "arguments" else []


def returned(function: Node) -> list[Node]:
    """The expressions that a function can return."""
    body = function.child("body")
    if body is None or body.kind != "statement_block":
        return [body] if body is not None else []
    found: list[Node] = []
    waiting = [body]
    while waiting:
        node = waiting.pop()
        if node.kind == "return_statement":
            found += node.children[:1]
        elif node.kind not in FUNCTIONS and node.kind not in CLASSES:
            waiting += node.children
    return found


def _operator(node: Node) -> str:
    operator = node.child("operator")
    return operator.kind if operator else ""


def _is_handler(param: Param) -> bool:
    """Whether Cloudflare calls the function with the bindings at this position."""
    name = param.function.child("name") or (param.function.parent and param.function.parent.child("key"))
    called = name.text if name else ""
    return param.index == 1 and called in {"fetch", "scheduled", "queue", "email", "tail", "trace", "constructor"}
