"""Every scenario and every bypass of the hazard list that is due has a test that plays it, found by its marker."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent
SCENARIOS = [f"B{number}" for number in (*range(1, 23), *range(25, 32), 33, 35, 42)]
BYPASSES = [f"4.2.{number}" for number in (1, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15)]


def marked() -> set[str]:
    """What `pytest.mark.hazard(...)` says anywhere in the tests."""
    found: set[str] = set()
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.hazard":
                found |= {str(ast.literal_eval(number)) for number in node.args}
    return found


def test_every_hazard_that_is_due_has_a_test() -> None:
    assert {*SCENARIOS, *BYPASSES} - marked() == set()
