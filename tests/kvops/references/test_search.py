"""The search: what it tells apart, and that it never says nothing by mistake."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kvops.references.engine import evaluator
from kvops.references.engine.matching import Pattern
from kvops.references.report import Report, dumps, loads
from kvops.references.search import SearchRefused, search_path, search_sources
from tests.kvops.references.test_projects import PATTERNS

AT = datetime(2026, 11, 28, tzinfo=UTC)


def found(*lines: str, file: str = "a.ts", patterns: list[Pattern] = PATTERNS, **others: str) -> list[str]:
    """What is found in one file, without its name."""
    sources = [(file, "\n".join(lines)), *((f"{name}.ts", text) for name, text in others.items())]
    report = search_sources(sources, patterns, commit="", at=AT)
    assert loads(dumps(report)) == report
    return [f"{hit.line} {hit.certainty} {hit.access} {hit.family}" for hit in report.hits if hit.file == file]


OVERRIDDEN = """class A { p = "x"; get(k) { return this.env.SETTINGS.get(this.p + k) } }
class B extends A { p = "master:" }"""
INHERITED = """class A { constructor(kv) { this.kv = kv } f() { return this.kv.delete("master:1") } }
class B extends A {} new B(env.SETTINGS).f();"""


@pytest.mark.parametrize(
    ("code", "hits"),
    [
        ('let k = "x"; k = "master:"; env.SETTINGS.get(k);', {"certain read SETTINGS master:*"}),
        ('let k = "mas"; k += "ter:"; env.SETTINGS.get(k);', {"certain read SETTINGS master:*"}),
        ('const o = { a: "x" }; o.a = "master:"; env.SETTINGS.get(o.a);', {"certain read SETTINGS master:*"}),
        ('const o = {}; o[k] = "master:"; env.SETTINGS.get(o.b);', {"unknown read SETTINGS *"}),
        ('let a; ({ a } = env); a.SETTINGS.get("master:1");', {"certain read SETTINGS master:*"}),
        ('let kv; { ({ SETTINGS: kv } = env); } kv.get("master:1");', {"certain read SETTINGS master:*"}),
        ('const f = (k) => env.SETTINGS.get(k); f.call(null, "master:1"); f("x");', {"unknown read SETTINGS *"}),
        ('const f = (k) => env.SETTINGS.get(k); list.map(f); f("x");', {"unknown read SETTINGS *"}),
        ('const f = (k) => env.SETTINGS.get(k); (0, f)("master:1");', {"certain read SETTINGS master:*"}),
        ('const f = (k) => env.SETTINGS.get(k); f`x`; f("y");', {"unknown read SETTINGS *"}),
        ('const f = (...k) => env.SETTINGS.get(k[0]); f("master:1");', {"unknown read SETTINGS *"}),
        ('const o = { p: "x", ...more }; env.SETTINGS.get(o.p);', {"unknown read SETTINGS *"}),
        ('const o = { p: "x", ...{ p: "master:" } }; env.SETTINGS.get(o.p);', {"certain read SETTINGS master:*"}),
        (OVERRIDDEN, {"certain read SETTINGS master:*"}),
        (INHERITED, {"certain delete SETTINGS master:*"}),
        ('env.SETTINGS?.["get"]?.("master:1")', {"certain read SETTINGS master:*"}),
        ('(env as any).SETTINGS!.put<string>(`master:${id}`, "")', {"certain write SETTINGS master:*"}),
        ('globalThis.SETTINGS.get("master:1")', {"certain read SETTINGS master:*"}),
        ('env["SET" + "TINGS"].get("master:1")', {"certain read SETTINGS master:*"}),
        ('env.SETTINGS.get(["master:1", "x"])', {"certain read SETTINGS master:*"}),
        ('env.SETTINGS.get("\\u006daster:1")', {"certain read SETTINGS master:*"}),
        ('env.SETTINGS.get(flag ? "master:1" : "x")', {"certain read SETTINGS master:*"}),
        ('env.SETTINGS.get(prefix ?? "master:")', {"certain read SETTINGS master:*", "unknown read SETTINGS *"}),
        ("env.SETTINGS.get(`${p}master:1`)", {"possible read SETTINGS master:*", "unknown read SETTINGS *"}),
        ("function f(kv: KVNamespace, k: string) { return kv.get(k) }", {"unknown read *"}),
        ("sync(env.SETTINGS)", {"unknown unknown SETTINGS *"}),
        ("sync({ kv: env.SETTINGS })", {"unknown unknown SETTINGS *"}),
        ("const { get } = env.SETTINGS;", {"unknown read SETTINGS *"}),
        ("if (/^master:/.test(key)) {}", {"possible unknown SETTINGS master:*"}),
        ('type K = "master:1"; interface E { SETTINGS: KVNamespace }', set()),
        ('new Map().get("x"); headers.get(key); env.CACHE.get("x");', set()),
        ('env.SETTINGS.get("mastercache:1")', {"certain read SETTINGS mastercache:*"}),
    ],
)
def test_an_access_is_found_in_whatever_form_it_has(code: str, hits: set[str]) -> None:
    told = {hit.partition(" ")[2] for hit in found(code)}
    literal = {hit for hit in told if hit.startswith("possible unknown")}
    assert hits <= told
    assert told - hits <= literal | {"unknown read SETTINGS *"}


def test_a_longer_family_wins_and_a_shorter_name_can_be_either() -> None:
    assert found('env.SETTINGS.get("clinic:id:5")') == ["1 certain read SETTINGS clinic:id:*"]
    assert found('env.SETTINGS.get("clinic:" + x)')[0] == "1 certain read SETTINGS clinic:*"
    assert "1 possible read SETTINGS clinic:id:*" in found('env.SETTINGS.get("clinic:" + x)')


def test_tests_alone_do_not_tell_all_values_of_a_parameter() -> None:
    code = "export const load = (env, k: string) => env.SETTINGS.get(k);"
    sources = [("a.ts", code), ("a.test.ts", 'import { load } from "./a"; load(env, "x");')]
    report = search_sources(sources, PATTERNS, commit="", at=AT)
    assert [(hit.file, hit.certainty) for hit in report.hits] == [("a.ts", "unknown")]


def test_a_file_that_cannot_be_parsed_is_listed_and_is_a_hit_and_is_searched_all_the_same() -> None:
    report = search_sources([("a.js", 'const = ;\nenv.SETTINGS.get("master:1")')], PATTERNS, commit="", at=AT)
    assert report.unparsed == ("a.js",)
    first = report.hits[0]
    assert (first.line, first.certainty, first.family) == (1, "unknown", "*")
    assert any(hit.family == "SETTINGS master:*" for hit in report.hits)


def test_context_is_three_lines_and_long_lines_are_cut_around_the_hit() -> None:
    code = f'{"a();" * 2000}env.SETTINGS.get("master:1");{"b();" * 2000}'
    (hit,) = search_sources([("a.js", f"one\n{code}\nthree")], PATTERNS, commit="", at=AT).hits
    assert (hit.line, hit.column, hit.text) == (2, 8018, '"master:1"')
    assert (hit.context[0], hit.context[2]) == ("one", "three")
    assert '"master:1"' in hit.context[1]
    assert len(hit.context[1]) <= 300


def test_columns_count_characters() -> None:
    (hit,) = search_sources([("a.js", '/* 設定 */ env.SETTINGS.get("master:1")')], PATTERNS, commit="", at=AT).hits
    assert hit.column == 27


# A checkout


def checkout(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def searched(path: Path, commit: str = "") -> Report:
    return search_path(path, PATTERNS, commit=commit, at=AT)


@pytest.mark.parametrize("files", [{}, {"README.md": "master:"}, {"a.json": "{}"}, {"node_modules/a.js": "f()"}])
def test_a_path_without_source_files_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(SearchRefused, match="has no source files"):
        searched(checkout(tmp_path, files))
    with pytest.raises(SearchRefused, match="cannot be opened"):
        searched(tmp_path / "absent")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    checkout(tmp_path, {"b.js": ""})
    monkeypatch.setattr(Path, "read_bytes", denied)  # root could read a file of mode 0
    with pytest.raises(SearchRefused, match=r"b\.js cannot be read"):
        searched(tmp_path)


def test_a_fifo_among_the_sources_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(checkout(tmp_path, {"a.js": ""}) / "b.js")
    with pytest.raises(SearchRefused, match=r"b\.js is not a file"):
        searched(tmp_path)


@pytest.mark.parametrize(("target", "reason"), [("../x.js", "out of the checkout"), ("gone.js", "a link to nothing")])
def test_a_link_out_of_the_checkout_is_refused(tmp_path: Path, target: str, reason: str) -> None:
    checkout(tmp_path, {"x.js": "", "repo/a.js": ""})
    (tmp_path / "repo/b.js").symlink_to(target)
    with pytest.raises(SearchRefused, match=reason):
        searched(tmp_path / "repo")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "files",
    [
        {".git/HEAD": COMMIT},
        {".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": f"{COMMIT}\n"},
        {".git/HEAD": "ref: refs/heads/main\n", ".git/packed-refs": f"# pack\n{COMMIT} refs/heads/main\n"},
        {
            ".git": "gitdir: ../main/.git/worktrees/w\n",
            "../main/.git/worktrees/w/HEAD": "ref: refs/heads/w\n",
            "../main/.git/worktrees/w/commondir": "../..\n",
            "../main/.git/packed-refs": f"{COMMIT} refs/heads/w\n",
        },
    ],
)
def test_the_commit_is_read_without_git(tmp_path: Path, files: dict[str, str]) -> None:
    repo = checkout(tmp_path / "repo", {"src/a.js": "f()", **files})
    assert searched(repo).commit == COMMIT
    assert searched(repo, "abc1234").commit == "abc1234"


@pytest.mark.parametrize("head", ["ref: ../../etc/passwd", "ref: refs/heads/none", "junk"])
def test_a_commit_that_cannot_be_told_is_empty(tmp_path: Path, head: str) -> None:
    assert searched(checkout(tmp_path, {"a.js": "f()", ".git/HEAD": head})).commit == ""


def test_code_that_refers_to_itself_ends() -> None:
    code = 'let a = []; a = [...a, "master:1"]; const f = (x) => f(f(x)); let b = b + f(b); env.SETTINGS.get(a[0]);'
    assert "1 certain read SETTINGS master:*" in found(code)


CIRCLE = """
let kv = pick(env);
function pick(one) { return one ? other(one) : kv; }
function other(one) { return pick(one.SETTINGS); }
export default { fetch(request, env) { return kv.get(request.url); } };
"""


@pytest.mark.parametrize(("steps", "lines"), [(60_000, [5]), (0, [1, 5])])
def test_a_program_that_is_not_followed_everywhere_has_a_hit_that_says_so(
    steps: int, lines: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "_CAREFUL_STEPS", steps)
    report = search_sources([("a.js", CIRCLE)], PATTERNS, commit="", at=datetime.now(UTC))
    assert [hit.line for hit in report.hits if (hit.certainty, hit.family) == ("unknown", "*")] == lines


def test_of_a_program_that_is_too_large_no_file_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "_MOST_STEPS", 3)
    report = search_sources([("a.js", CIRCLE), ("b.js", CIRCLE)], PATTERNS, commit="", at=datetime.now(UTC))
    assert report.unparsed == ("a.js", "b.js")


@pytest.mark.parametrize(
    "url",
    [
        "https://ci:secret@git.example.com/team/site.git",
        "git@git.example.com:team/site.git",
        "ssh://git@git.example.com:22/team/site",
    ],
)
def test_a_search_names_the_repository_without_a_password(tmp_path: Path, url: str) -> None:
    files = {"a.js": "f()", ".git/HEAD": COMMIT, ".git/config": f'[core]\n[remote "origin"]\n\turl = {url}\n'}
    assert searched(checkout(tmp_path, files)).repository == "git.example.com/team/site"


def test_a_folder_without_an_origin_is_named_itself(tmp_path: Path) -> None:
    root = checkout(tmp_path, {"a.js": "f()"})
    assert searched(root).repository == root.name
