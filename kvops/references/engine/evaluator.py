"""Evaluates expressions of a program. Pure: no Django.

Nothing is left out: what cannot be told is `HOLE`, any text.
"""

from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from itertools import islice

from kvops.references.engine.callers import Callers
from kvops.references.engine.exports import Exports
from kvops.references.engine.members import Members
from kvops.references.engine.nodes import (
    CLASSES,
    ELEMENT,
    FUNCTIONS,
    KEY,
    Appended,
    Import,
    Param,
    Pushed,
    Stored,
    arguments,
    declaration_of,
    escaped,
    operator_of,
    plain,
    returned,
    text_of,
)
from kvops.references.engine.program import Program
from kvops.references.engine.syntax import SyntaxNode
from kvops.references.engine.values import (
    ANY_BINDING,
    CONTEXTS,
    HOLE,
    MOST,
    NOTHING,
    UNKNOWN,
    Binding,
    Call,
    Env,
    Instance,
    Many,
    Module,
    Text,
    Thing,
    Value,
    Values,
    joined,
)

_DEEPEST = 100
"""Expressions inside each other; deeper ones cannot be told."""
_MOST_TRIES = 3
"""Evaluations of an expression in a circle. What they tell together is kept."""

_CAREFUL_STEPS, _MOST_STEPS = 60_000, 2_000_000
"""Evaluations of one search: after the first calls are not told apart, after the second no file can be told."""

_SAME = frozenset({"trim", "toString", "normalize", "sort", "reverse", "filter", "toSorted"})


class Evaluator:
    """Evaluates the expressions of a program."""

    def __init__(self, program: Program, bindings: Collection[str]) -> None:
        self.program = program
        self.bindings = frozenset(bindings)
        self.callers = Callers(program, self)
        self.open: set[tuple[object, ...]] = set()
        self.cuts = 0
        self._members = Members(program, self.bindings, self)
        self._exports = Exports(program, self)
        self._known: dict[tuple[SyntaxNode, Call | None], Values] = {}
        self._tries: dict[tuple[SyntaxNode, Call | None], tuple[int, Values]] = {}
        self._left = _MOST_STEPS
        self.is_partial = False
        """Whether a circle was left before it was followed to its end, so a binding may have escaped notice."""

    is_hurried = property(lambda self: self._left < _MOST_STEPS - _CAREFUL_STEPS)
    """Whether so much was evaluated that calls of one function are no longer told apart."""

    is_exhausted = property(lambda self: self._left <= 0)
    """Whether the program is too large to be evaluated wholly."""

    def values(self, node: SyntaxNode | None, call: Call | None = None) -> Values:
        """Everything that the expression can stand for."""
        node = plain(node)
        if node is None:
            return NOTHING
        key = (node, call)
        if key in self._known:
            return self._known[key]
        if key in self.open or len(self.open) > _DEEPEST or self._left <= 0:
            self.cuts += 1
            return UNKNOWN
        self._left -= 1
        before = self.cuts
        self.open.add(key)
        try:
            method = self._kinds.get(node.kind)
            found = method(node, call) if method else UNKNOWN
        finally:
            self.open.discard(key)
        if len(found) > MOST:
            found = frozenset(islice(sorted(found, key=repr), MOST)) | UNKNOWN
        tries, union = self._tries.pop(key, (0, NOTHING))
        if self.cuts == before or not self.open or tries == _MOST_TRIES:
            self._known[key] = found | union
        elif self.is_hurried:
            self.is_partial = True
            self._known[key] = found | union
        else:  # a circle was cut somewhere below: another way into it may tell more
            self._tries[key] = (tries + 1, found | union)
        return found | union

    @cached_property
    def _kinds(self) -> dict[str, Callable[[SyntaxNode, Call | None], Values]]:
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
            "assignment_expression": lambda node, call: self.values(node.child("right"), call),
            "augmented_assignment_expression": lambda node, call: self.values(node.child("right"), call) | UNKNOWN,
            "identifier": self._identifier,
            "type_identifier": self._identifier,
            "shorthand_property_identifier": self._identifier,
            "shorthand_property_identifier_pattern": self._identifier,
            "this": self._this,
            "super": self._super,
            "member_expression": self._members.named_property,
            "subscript_expression": self._members.computed_property,
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

    def _template(self, node: SyntaxNode, call: Call | None) -> Values:
        parts: list[Values] = []
        for child in node.children:
            if child.kind == "template_substitution":
                parts.append(self.values(child.children[0], call) if child.children else UNKNOWN)
            else:
                parts.append(frozenset({Text(escaped(child) if child.kind == "escape_sequence" else child.text)}))
        return joined(parts, node)

    def _binary(self, node: SyntaxNode, call: Call | None) -> Values:
        operator = node.child("operator")
        kind = operator.kind if operator else ""
        left, right = node.child("left"), node.child("right")
        if kind == "+":
            parts: list[Values] = []
            here: SyntaxNode | None = node
            while here is not None and here.kind == "binary_expression" and operator_of(here) == "+":
                parts.append(self.values(here.child("right"), call))
                here = plain(here.child("left"))
            parts.append(self.values(here, call))
            return joined(parts[::-1], node)
        if kind in {"||", "??", "&&"}:
            return self._either([one for one in (left, right) if one], call)
        return UNKNOWN

    def _either(self, nodes: Iterable[SyntaxNode], call: Call | None) -> Values:
        return frozenset[Value]().union(*(self.values(node, call) for node in nodes))

    # Names

    def _identifier(self, node: SyntaxNode, call: Call | None) -> Values:
        name = node.text
        if name == "undefined":
            return NOTHING
        declared = declaration_of(node)
        found: set[Value] = set()
        if declared is None:
            if name in self.bindings:
                return frozenset({Binding(name)})
            found.add(HOLE)
        else:
            for store in declared[1]:
                found |= self.stored(store, call)
        if name in CONTEXTS:
            found.add(Env())
        return frozenset(found)

    def stored(self, store: Stored, call: Call | None = None) -> Values:
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

    def _source(self, store: Stored, call: Call | None) -> Values:
        source = store.source
        if source is None:
            return UNKNOWN
        key = ("source", source, call)
        if key in self.open:
            self.cuts += 1
            return UNKNOWN
        self.open.add(key)
        try:
            if isinstance(source, Param):
                return self.callers.parameter(source, call)
            if isinstance(source, Import):
                return self._exports.imported(source)
            if isinstance(source, (Appended, Pushed)):
                return self._added(source)
            return self.values(source, call)
        finally:
            self.open.discard(key)

    def _added(self, source: Appended | Pushed) -> Values:
        if isinstance(source, Appended):
            before, added = self.values(source.target), self.values(source.added)
            return joined([before, added], source.added) | joined([before, added, UNKNOWN], source.added)
        spread = source.added.kind == "spread_element"
        added = self.values(source.added.children[0] if spread else source.added)
        return added if spread else frozenset({Many(added)})

    def exported(self, file: str, name: str) -> Values:
        """Everything that the file exports under the name."""
        return self._exports.exported(file, name)

    # Properties

    def member(self, base: Values, name: str) -> Values:
        """The property of a value, or with `ELEMENT` any property, with `KEY` the name of any property."""
        return self._members.member(base, name)

    def heirs(self, holder: SyntaxNode) -> list[SyntaxNode]:
        """The classes that extend the class, directly or not."""
        return self._members.heirs[holder]

    def _this(self, node: SyntaxNode, _: Call | None) -> Values:
        holder = next((one for one in node.up() if one.kind in CLASSES), None)
        return frozenset({Instance(holder)}) if holder is not None else UNKNOWN

    def _super(self, node: SyntaxNode, call: Call | None) -> Values:
        holder = next((one for one in node.up() if one.kind in CLASSES), None)
        above = self.program.own[holder]["super"] if holder else ()
        return NOTHING.union(*(self.stored(one, call) for one in above)) or UNKNOWN

    # Calls

    def _call(self, node: SyntaxNode, call: Call | None) -> Values:
        callee = plain(node.child("function"))
        if callee is None:
            return UNKNOWN
        if (callee.kind == "import" or callee.text == "require") and (given := arguments(node)):
            files = self.program.modules(node.source, given[0].text.strip("'\"`"))
            return frozenset(Module(file) for file in files) or UNKNOWN
        if (special := self._built_in(node, callee, call)) is not None:
            return special
        return self._called(self.values(callee, call), call, node)

    def _called(self, callees: Values, call: Call | None, node: SyntaxNode | None = None) -> Values:
        found: set[Value] = set()
        for callee in callees:
            function = callee.node if isinstance(callee, Thing) and callee.node.kind in FUNCTIONS else None
            depth = call.depth + 1 if call else 1
            if function is None or depth > 3:
                found.add(HOLE)
                continue
            inner = call if node is None else None if self.is_hurried else Call(function, node, call, depth)
            for result in returned(function):
                found |= self.values(result, inner)
        return frozenset(found) or UNKNOWN

    def _built_in(self, node: SyntaxNode, callee: SyntaxNode, call: Call | None) -> Values | None:
        """The result of a method of texts, lists or Object; None for other calls."""
        name, base, given = callee.child("property"), callee.child("object"), arguments(node)
        if callee.text in {"String", "Object.freeze", "Array.from"} and given:
            return self.values(given[0], call)
        if name is None or base is None:
            return None
        if callee.text in {"Object.values", "Object.keys"} and given:
            step = ELEMENT if name.text == "values" else KEY
            return frozenset({Many(self.member(self.values(given[0], call), step))})
        if name.text in {"map", "flatMap"} and given:
            return frozenset({Many(self._called(self.values(given[0], call), call))})
        if name.text in _SAME:
            return self.values(base, call)
        return self._glued(node, name.text, base, call)

    def _glued(self, node: SyntaxNode, method: str, base: SyntaxNode, call: Call | None) -> Values | None:
        """The result of `"a".concat(b)` and of `["a", b].join(":")`."""
        given, listed = arguments(node), plain(base)
        if method == "concat" and given:
            return joined([self.values(base, call), *(self.values(one, call) for one in given)], node)
        if method != "join" or listed is None or listed.kind != "array":
            return None
        between = self.values(given[0], call) if given else frozenset[Value]({Text(",")})
        parts = [part for child in listed.children for part in (between, self.values(child, call))]
        return joined(parts[1:], node)

    def _new(self, node: SyntaxNode, call: Call | None) -> Values:
        made = self.values(node.child("constructor"), call)
        return frozenset(
            Instance(one.node) if isinstance(one, Thing) and one.node.kind in CLASSES else HOLE for one in made
        )
