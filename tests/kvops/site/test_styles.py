"""The stylesheet and the scripts of our own are small, and nothing in them is unused."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
OURS = {"css": 12, "js": 20}
"""KiB of all files of a kind together, as they are served."""
MADE = re.compile(r"(chart|step|difference|phase|strip)-\w+")
"""Classes whose names templates put together."""


def files(kind: str) -> list[Path]:
    return sorted((ROOT / "static" / kind).glob(f"*.{kind}"))


@pytest.mark.parametrize("kind", OURS)
def test_what_we_add_to_the_libraries_stays_small(kind: str) -> None:
    assert sum(path.stat().st_size for path in files(kind)) <= OURS[kind] * 1024


def test_each_class_of_the_stylesheet_is_used() -> None:
    rules = re.sub(r"/\*.*?\*/", "", "".join(path.read_text("utf-8") for path in files("css")), flags=re.DOTALL)
    named = {
        name
        for selector in re.findall(r"([^{};]+)\{", rules)
        for name in re.findall(r"\.([a-z][\w-]*)", selector)
        if not MADE.fullmatch(name)
    }
    used = "\n".join(
        path.read_text("utf-8")
        for folder, ending in (("templates", "html"), ("kvops", "py"), ("backups", "py"), ("static/js", "js"))
        for path in (ROOT / folder).rglob(f"*.{ending}")
    )
    assert len(named) > 60
    django = {"errorlist"}
    assert {name for name in named if not re.search(rf"(?<![\w-]){name}(?![\w-])", used)} == django
