"""Which names of a source file stand for what. Pure: no Django.

Order and branches are ignored: a name stands for everything that is ever stored under it.
"""

from collections import defaultdict

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
    declaration_of,
    named,
    text_of,
    type_of,
)
from kvops.references.engine.syntax import Source, SyntaxNode

_DECLARED = frozenset({"function_declaration", "generator_function_declaration", "enum_declaration"}) | CLASSES
_SCOPES = FUNCTIONS | {"program", "statement_block", "for_statement", "for_in_statement", "catch_clause", "switch_body"}


class Tables:
    """The stores of all files by name and by property, and their exports."""

    def __init__(self) -> None:
        self.properties: defaultdict[str, list[Stored]] = defaultdict(list)
        self.assigned: defaultdict[str, list[tuple[SyntaxNode, Stored]]] = defaultdict(list)
        self.own: defaultdict[SyntaxNode, defaultdict[str, list[Stored]]] = defaultdict(lambda: defaultdict(list))
        self.exports: defaultdict[str, defaultdict[str, list[Stored]]] = defaultdict(lambda: defaultdict(list))
        self.starred: defaultdict[str, list[str]] = defaultdict(list)


class Declarations:
    """Declares the names of one file."""

    def __init__(self, tables: Tables, source: Source) -> None:
        self.tables = tables
        self.source = source
        self.exports = tables.exports[source.file]

    def run(self) -> None:
        """Declare first and assign then, because a name may be assigned before its declaration."""
        nodes = list(self.source.root.walk()) if self.source.root else []
        for node in nodes:
            if node.kind in _SCOPES:
                node.names = {}
        for node in nodes:
            self._visit(node)
        for node in nodes:
            if node.kind in {"assignment_expression", "augmented_assignment_expression"}:
                self._assign(node)
            elif node.kind == "call_expression":
                self._push(node)

    def _visit(self, node: SyntaxNode) -> None:
        if node.kind in FUNCTIONS:
            self._parameters(node)
        if method := getattr(self, f"_on_{node.kind}", None):
            method(node)
        if node.kind in _DECLARED and (name := node.child("name")):
            self._name(name, Stored(node))
        if node.kind in CLASSES:
            self._extends(node)

    def _extends(self, node: SyntaxNode) -> None:
        for child in node.children:
            if child.kind == "class_heritage":
                self.tables.own[node]["super"] = [Stored(child)]

    def _name(self, name: SyntaxNode, store: Stored, *, hoisted: bool = False) -> None:
        for scope in name.up():
            if scope.names is None or (scope is name.parent and scope.kind in _DECLARED):
                continue
            if hoisted and scope.kind not in FUNCTIONS and scope.kind != "program":
                continue
            scope.names.setdefault(name.text, []).append(store)
            return

    def _assigned(self, name: SyntaxNode, store: Stored) -> None:
        """Store something more under a name that is declared elsewhere."""
        if found := declaration_of(name):
            found[1].append(store)

    def _declare(self, pattern: SyntaxNode, store: Stored, *, hoisted: bool = False, assigned: bool = False) -> None:
        """Store something under the names of a pattern."""
        waiting = [(pattern, store)]
        while waiting:
            node, at = waiting.pop()
            if node.kind in {"identifier", "shorthand_property_identifier_pattern"}:
                step = (node.text,) if node.kind != "identifier" else ()
                at = Stored(at.source, at.path + step, at.typed)
                if assigned:
                    self._assigned(node, at)
                else:
                    self._name(node, at, hoisted=hoisted)
            elif node.kind in {"object_pattern", "array_pattern"}:
                step = (ELEMENT,) if node.kind == "array_pattern" else ()
                waiting += [(child, Stored(at.source, at.path + step)) for child in node.children]
            elif node.kind == "pair_pattern" and (key := node.child("key")) and (value := node.child("value")):
                waiting.append((value, Stored(at.source, (*at.path, named(key)))))
            elif node.kind in {"assignment_pattern", "object_assignment_pattern"} and len(node.children) > 1:
                waiting += [(node.children[0], at), (node.children[0], Stored(node.children[-1]))]
            elif node.kind == "rest_pattern" and node.children:
                waiting.append((node.children[0], at))
            elif node.kind in {"member_expression", "subscript_expression"}:
                self._member(node, at)

    def _parameters(self, function: SyntaxNode) -> None:
        listed = function.child("parameters")
        single = function.child("parameter")
        index = 0
        for node in [single] if single else listed.children if listed else []:
            pattern = (node.child("pattern") or node) if node.kind.endswith("_parameter") else node
            if pattern.kind == "this" or node.kind == "decorator":
                continue
            typed = type_of(node)
            self._declare(pattern, Stored(Param(function, index), (), typed))
            if value := node.child("value"):
                self._declare(pattern, Stored(value))
            if any(child.kind in {"accessibility_modifier", "readonly"} for child in node.children) or (
                node.kind == "required_parameter" and node.text.startswith("readonly ")
            ):
                self._own(node, pattern.text, Stored(Param(function, index), (), typed))
            index += 1

    def _own(self, node: SyntaxNode, name: str, store: Stored) -> None:
        """Store something in a property of the class, or of the object, around the node."""
        self.tables.properties[name].append(store)
        for holder in node.up():
            if holder.kind in CLASSES or (holder.kind == "object" and node.parent is holder):
                self.tables.own[holder][name].append(store)
                return

    def _member(self, target: SyntaxNode, store: Stored) -> None:
        """Store something in the property that the expression names."""
        name, index, holder = target.child("property"), target.child("index"), target.child("object")
        if holder is None:
            return
        text = name.text if name else text_of(index) if index and index.kind == "string" else None
        if text is None:
            self._add(holder, Stored(Pushed(target.parent.children[-1])) if target.parent else Stored(None))
        elif holder.kind == "this":
            self._own(target, text, store)
        else:
            self.tables.properties[text].append(store)
            self.tables.assigned[text].append((holder, store))
            if holder.text in {"exports", "module.exports"}:
                self.exports[text].append(store)
            elif target.text == "module.exports":
                self.exports["default"].append(store)
                self.exports["*"].append(store)

    def _push(self, node: SyntaxNode) -> None:
        callee, passed = node.child("function"), node.child("arguments")
        name = callee.child("property") if callee else None
        target = callee.child("object") if callee else None
        if name is None or target is None or passed is None or name.text not in {"push", "unshift", "add"}:
            return
        for added in passed.children:
            self._add(target, Stored(Pushed(added)))

    def _add(self, target: SyntaxNode, store: Stored) -> None:
        """Store something in a list or an object that the expression names."""
        if target.kind == "identifier":
            self._assigned(target, store)
        elif (name := target.child("property")) is not None and (holder := target.child("object")) is not None:
            self.tables.assigned[name.text].append((holder, store))

    def _assign(self, node: SyntaxNode) -> None:
        left, right = node.child("left"), node.child("right")
        if left is None or right is None:
            return
        operator = node.child("operator")
        appended = operator is not None and operator.kind == "+="
        store = Stored(Appended(left, right) if appended else right)
        if left.kind in {"member_expression", "subscript_expression"}:
            self._member(left, store)
        else:
            self._declare(left, store, assigned=True)

    def _on_variable_declarator(self, node: SyntaxNode) -> None:
        name, value = node.child("name"), node.child("value")
        if name is not None:
            hoisted = node.parent is not None and node.parent.kind == "variable_declaration"
            empty = value is None and not _in_for(node)
            if not empty or type_of(node):
                self._declare(name, Stored(value, (), type_of(node)), hoisted=hoisted)
            elif name.kind == "identifier" and not _is_ambient(node):
                self._nothing(name, hoisted=hoisted)

    def _nothing(self, name: SyntaxNode, *, hoisted: bool) -> None:
        self._name(name, Stored(name, ("undefined",)), hoisted=hoisted)

    def _on_for_in_statement(self, node: SyntaxNode) -> None:
        left, right = node.child("left"), node.child("right")
        if left is not None and right is not None:
            operator = node.child("operator")
            step = KEY if operator is not None and operator.kind == "in" else ELEMENT
            self._declare(left, Stored(right, (step,)))

    def _on_catch_clause(self, node: SyntaxNode) -> None:
        if parameter := node.child("parameter"):
            self._declare(parameter, Stored(None))

    def _on_pair(self, node: SyntaxNode) -> None:
        key, value = node.child("key"), node.child("value")
        if key is not None and value is not None:
            self._own(node, named(key), Stored(value))

    def _on_shorthand_property_identifier(self, node: SyntaxNode) -> None:
        self._own(node, node.text, Stored(node))

    def _on_spread_element(self, node: SyntaxNode) -> None:
        if node.parent is not None and node.parent.kind == "object":
            self.tables.own[node.parent]["..."].append(Stored(node.children[0]) if node.children else Stored(None))

    def _on_method_definition(self, node: SyntaxNode) -> None:
        if name := node.child("name"):
            getter = any(child.kind == "get" for child in node.children)
            self._own(node, named(name), Stored(node, ("()",) if getter else ()))

    def _on_public_field_definition(self, node: SyntaxNode) -> None:
        name = node.child("name") or node.child("property")
        if name is not None:
            value = node.child("value")
            if value is not None or type_of(node):
                self._own(node, named(name), Stored(value, (), type_of(node)))

    _on_field_definition = _on_public_field_definition

    def _on_import_statement(self, node: SyntaxNode) -> None:
        source = node.child("source")
        module = text_of(source) if source else None
        if module is None:
            return
        for child in node.walk():
            if child.kind == "import_specifier" and (name := child.child("name")):
                self._name(child.child("alias") or name, Stored(Import(self.source, module, named(name))))
            elif child.kind == "namespace_import" and child.children:
                self._name(child.children[0], Stored(Import(self.source, module, "*")))
            elif child.kind == "import_clause":
                for name in child.children:
                    if name.kind == "identifier":
                        self._name(name, Stored(Import(self.source, module, "default")))

    def _on_export_statement(self, node: SyntaxNode) -> None:
        source = node.child("source")
        module = text_of(source) if source else None
        for child in node.walk():
            if child.kind == "export_specifier" and (name := child.child("name")):
                exported = child.child("alias") or name
                store = Stored(Import(self.source, module, named(name)) if module is not None else name)
                self.exports[named(exported)].append(store)
            elif child.kind == "namespace_export" and module is not None and child.children:
                self.exports[child.children[0].text].append(Stored(Import(self.source, module, "*")))
        if module is not None and not any(child.kind != "string" for child in node.children):
            self.tables.starred[self.source.file].append(module)
        if value := node.child("value"):
            self.exports["default"].append(Stored(value))
        if (declaration := node.child("declaration")) is not None:
            self._exported(declaration)

    def _exported(self, declaration: SyntaxNode) -> None:
        for child in (declaration, *declaration.children):
            name = child.child("name")
            if name is None or child.kind not in _DECLARED | {"variable_declarator"}:
                continue
            for part in name.walk():
                if part.kind in {"identifier", "type_identifier", "shorthand_property_identifier_pattern"}:
                    self.exports[part.text].append(Stored(part))
            if child is declaration:
                self.exports["default"].append(Stored(child))


def _in_for(node: SyntaxNode) -> bool:
    return any(parent.kind == "for_in_statement" for parent in list(node.up())[:2])


def _is_ambient(node: SyntaxNode) -> bool:
    return any(parent.kind == "ambient_declaration" for parent in list(node.up())[:2])
