"""What stands in the properties of values. Pure: no Django.

The properties of an object of the program are told apart by object. Behind anything else a name of a property stands
for all functions and bindings that are ever stored under it; texts stored there are not taken for its texts.
"""

from collections import defaultdict
from collections.abc import Collection
from functools import cached_property

from kvops.references.engine.nodes import CLASSES, ELEMENT, KEY, Stored, named
from kvops.references.engine.program import Program
from kvops.references.engine.syntax import SyntaxNode
from kvops.references.engine.values import (
    ANY_BINDING,
    CONTEXTS,
    GAP,
    HOLE,
    UNKNOWN,
    Binding,
    Call,
    Env,
    Evaluates,
    Instance,
    Many,
    Module,
    Text,
    Thing,
    Value,
    Values,
)

_DEEPEST = 8
"""Classes above a class, or objects spread in an object."""


class Members:
    """Looks up properties."""

    def __init__(self, program: Program, bindings: Collection[str], evaluator: Evaluates) -> None:
        self.program = program
        self.bindings = bindings
        self.evaluator = evaluator

    def member(self, base: Values, name: str) -> Values:
        """The property of a value, or with `ELEMENT` any property, with `KEY` the name of any property."""
        found: set[Value] = set()
        sure = bool(base)
        for one in base:
            part = self._own(one, name)
            sure = sure and part is not None
            found |= part or frozenset()
        if sure and found:
            return frozenset(found).union(*(self._guarded(one) or UNKNOWN for one in self._assigned(base, name)))
        if name in self.bindings:
            return frozenset(found | {Binding(name)})
        if name in CONTEXTS:
            found.add(Env())
        for store in self.program.properties.get(name, ()):
            found |= {one for one in self._guarded(store) or UNKNOWN if not isinstance(one, Text)}
        return frozenset(found | UNKNOWN)

    def named_property(self, node: SyntaxNode, call: Call | None) -> Values:
        """What `a.b` can stand for."""
        name = node.child("property")
        return self.member(self.evaluator.values(node.child("object"), call), name.text) if name else UNKNOWN

    def computed_property(self, node: SyntaxNode, call: Call | None) -> Values:
        """What `a[b]` can stand for."""
        base = self.evaluator.values(node.child("object"), call)
        found: set[Value] = set()
        for step in self.evaluator.values(node.child("index"), call):
            if isinstance(step, Text) and GAP not in step.shape:
                found |= self.member(base, ELEMENT if step.shape.isdecimal() else step.shape)
            elif Env() in base:
                found.add(Binding(ANY_BINDING))
            else:
                found |= self.member(base, ELEMENT)
        return frozenset(found) or UNKNOWN

    def _assigned(self, base: Values, name: str) -> list[Stored]:
        """What is assigned to the property of these objects elsewhere, or may be."""
        aliased = any(not isinstance(one, Thing) or self.program.is_aliased(one.node) for one in base)
        found: list[Stored] = []
        for holder, store in self.program.assigned.get(name, ()):
            targets = self.evaluator.values(holder)
            told = bool(targets) and all(isinstance(one, (Thing, Instance)) for one in targets)
            if targets & base or (aliased and not told):
                found.append(store)
        return found

    def _guarded(self, store: Stored) -> Values | None:
        """What is stored; None while that is being found out."""
        key = ("property", store)
        if key in self.evaluator.open:
            self.evaluator.cuts += 1
            return None
        self.evaluator.open.add(key)
        try:
            return self.evaluator.stored(store)
        finally:
            self.evaluator.open.discard(key)

    def _own(self, value: Value, name: str) -> Values | None:
        """The property of one value; None if it may have others than the program shows."""
        if isinstance(value, Many) and name == ELEMENT:
            return value.elements
        if isinstance(value, Module):
            return self.evaluator.exported(value.file, name) or None
        return self._of_node(value.node, name) if isinstance(value, (Thing, Instance)) else None

    def _of_node(self, node: SyntaxNode, name: str) -> Values | None:
        """The property of a list, an enum, an object or a class."""
        if node.kind == "array":
            return self._elements(node) if name not in {KEY, "length"} else None
        if node.kind == "enum_declaration":
            return self._of_enum(node, name)
        if name in {ELEMENT, KEY}:
            return self._all(node, name)
        stores = self._stores(node, name, 0)
        found: set[Value] = set()
        for store in stores or ():
            part = self._guarded(store)
            if part is None:
                return None
            found |= part
        return frozenset(found) if stores else None

    def _stores(self, holder: SyntaxNode, name: str, depth: int) -> list[Stored] | None:
        """The stores under the name in an object or a class, in its bases and heirs, and in objects spread in it."""
        own = self.program.own[holder]
        stores = list(own.get(name, ()))
        if depth < _DEEPEST:
            for heir in self.heirs[holder]:
                stores += self.program.own[heir].get(name, ())
        above = [*own.get("...", ()), *(own.get("super", ()) if not stores else ())]
        for store in above if depth < _DEEPEST else ():
            for one in self._guarded(store) or UNKNOWN:
                more = self._stores(one.node, name, depth + 1) if isinstance(one, (Thing, Instance)) else None
                if more is None and holder.kind not in CLASSES:
                    return None
                stores += more or ()
        return stores

    @cached_property
    def heirs(self) -> defaultdict[SyntaxNode, list[SyntaxNode]]:
        """The classes that extend a class, directly or not."""
        self.__dict__["heirs"] = found = defaultdict[SyntaxNode, list[SyntaxNode]](list)
        direct = [
            (one.node, holder)
            for holder, own in list(self.program.own.items())
            for store in own.get("super", ())
            for one in self.evaluator.stored(store)
            if isinstance(one, Thing)
        ]
        for base, heir in direct:
            waiting = [heir]
            while waiting:
                one = waiting.pop()
                if one not in found[base] and one is not base:
                    found[base].append(one)
                    waiting += [below for above, below in direct if above is one]
        return found

    def _elements(self, node: SyntaxNode) -> Values:
        key = ("elements", node)
        if key in self.evaluator.open:  # a list that holds itself, such as `a = [...a, b]`
            self.evaluator.cuts += 1
            return UNKNOWN
        self.evaluator.open.add(key)
        found: set[Value] = set()
        for child in node.children:
            if child.kind == "spread_element":
                found |= self.member(self.evaluator.values(child.children[0]), ELEMENT)
            else:
                found |= self.evaluator.values(child)
        self.evaluator.open.discard(key)
        return frozenset(found)

    def _of_enum(self, node: SyntaxNode, name: str) -> Values | None:
        found: set[Value] = set()
        for part in node.walk():
            if part.kind == "enum_assignment":
                member = named(part.child("name") or part.children[0])
                if name == KEY:
                    found.add(Text(member))
                elif name in {ELEMENT, member}:
                    found |= self.evaluator.values(part.children[-1])
        return frozenset(found) or None

    def _all(self, node: SyntaxNode, name: str) -> Values | None:
        """All names, or everything stored under any name."""
        found: set[Value] = set()
        for key, stores in list(self.program.own[node].items()):
            if key == "...":
                found.add(HOLE)
            elif name == KEY:
                found.add(Text(key))
            else:
                for store in stores:
                    found |= self._guarded(store) or UNKNOWN
        return frozenset(found) or None
