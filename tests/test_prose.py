"""Documents and docstrings are plain English, and the map of the architecture names every package."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PRODUCT = ("audit", "backups", "kvops", "sandbox")
LONGEST = 30
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`[^`]+`")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
ITEM = re.compile(r"^(?:[-*+]|\d+\.)\s+")
END = re.compile(r"(?<=[.!?])[\"'*_)\]”]*\s+")
RELATIVE = re.compile(r"\b(?:what|whatever|who|whoever)\b", re.IGNORECASE)
ROOM = re.compile(r"^\| `((?:backups|kvops)/\w+/)`", re.MULTILINE)


def texts(markdown: str) -> Iterator[str]:
    """Each paragraph, list item, heading and table cell; a piece of inline code or a link's target is one word."""
    paragraph: list[str] = []
    for line in LINK.sub(r"\1", INLINE.sub("code", FENCED.sub("", markdown))).splitlines():
        text = line.strip()
        apart = text.startswith(("|", "#"))
        if apart or not text or ITEM.match(text):
            yield " ".join(paragraph)
            paragraph = []
        if apart:
            yield from text.strip("|#").split("|")
        elif text:
            paragraph.append(ITEM.sub("", text, count=1))
    yield " ".join(paragraph)


def sentences(markdown: str) -> Iterator[str]:
    """The sentences of a document, in order."""
    for text in texts(markdown):
        yield from END.split(text.strip())


def length(sentence: str) -> int:
    """The number of words: pieces between spaces that hold a letter or a digit."""
    return sum(any(character.isalnum() for character in piece) for piece in sentence.split())


@cache
def docstrings() -> dict[str, str]:
    """The docstrings of modules, classes and functions of the product, by their places."""
    found: dict[str, str] = {}
    for path in (path for app in PRODUCT for path in sorted((ROOT / app).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"] = ast.get_docstring(node) or ""
    return found


def packages() -> set[str]:
    """The packages of features: the folders directly below `backups/` and `kvops/`, migrations aside."""
    found = (path.parent for app in ("backups", "kvops") for path in (ROOT / app).glob("*/__init__.py"))
    return {f"{path.relative_to(ROOT)}/" for path in found if path.name != "migrations"}


def test_a_sentence_of_a_document_has_at_most_thirty_words() -> None:
    long = {
        f"{path.name}: {sentence}"
        for path in DOCUMENTS
        for sentence in sentences(path.read_text("utf-8"))
        if length(sentence) > LONGEST
    }
    assert long == set()


def test_sentences_are_counted_cell_by_cell_and_code_as_one_word() -> None:
    page = "# Head\n\nOne `a b c` [two three](four five). A\nline\n\n- one item.\n- item\n  two\n\n| a | c. **D.** e |"
    found = [sentence for sentence in sentences(page) if sentence]
    assert found == ["Head", "One code two three.", "A line", "one item.", "item two", "a", "c.", "**D.", "e"]
    assert [length(sentence) for sentence in found] == [1, 4, 2, 2, 2, 1, 1, 1, 1]


def test_a_docstring_has_at_most_one_clause_with_what_or_who() -> None:
    assert [place for place, text in docstrings().items() if len(RELATIVE.findall(text)) > 1] == []


def test_what_and_who_are_rare_in_docstrings() -> None:
    clauses = sum(len(RELATIVE.findall(text)) for text in docstrings().values())
    words = sum(length(text) for text in docstrings().values())
    assert clauses * 1000 <= 2 * words


def test_the_architecture_names_every_package_and_no_other() -> None:
    named = ROOM.findall((ROOT / "docs/architecture.md").read_text("utf-8"))
    assert set(named) == packages()
    assert len(named) == len(set(named))
