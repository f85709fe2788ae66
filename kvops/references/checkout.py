"""A checkout on this machine: its source files, and the commit that it is at. Pure: no Django and no git program.

Nothing is left out silently: a file that cannot be read is an error, and so is a link out of the checkout.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from kvops.references.engine.syntax import CODE
from kvops.references.report import LONGEST_REPOSITORY, wrong_path
from kvops.refusals import Refused

PLAIN = frozenset(
    [
        "json",
        "jsonc",
        "json5",
        "toml",
        "yaml",
        "yml",
        "sql",
        "py",
        "sh",
        "bash",
        "zsh",
        "rb",
        "go",
        "rs",
        "php",
        "java",
        "kt",
        "env",
        "ini",
        "cfg",
        "conf",
        "tf",
        "graphql",
        "gql",
    ]
)
"""Endings of files that are searched as plain text."""

SKIPPED = frozenset({"node_modules", ".git", ".hg", ".svn", ".wrangler", "__pycache__", ".venv"})
"""Folders that are not searched: packages of others, and what tools keep for themselves."""

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ORIGIN = re.compile(r'^\[remote "origin"\]\s*$[^\[]*?^\s*url\s*=\s*(?P<url>\S+)\s*$', re.MULTILINE)
_ADDRESS = re.compile(r"(?:\w+://)?(?:[^/@]*@)?(?P<host>[^/:@]+)?(?::\d+)?[:/]/?(?P<path>[^@?#]+?)(?:\.git)?/?")
_LONGEST_FILE = 64 * 1024 * 1024


class SearchRefused(Refused):
    """The path cannot be searched completely, so nothing is said about it."""


def read_sources(path: Path) -> list[tuple[str, str]]:
    """All source files below the path, by their path inside it. Raises SearchRefused."""
    try:
        root = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SearchRefused(f"{path} cannot be opened.") from error
    if not root.is_dir():
        raise SearchRefused(f"{path} is not a folder.")
    sources = [(file, _read(root / file, file)) for file in sorted(_files(root))]
    if not any(is_code(file) for file, _ in sources):
        raise SearchRefused(f"{path} has no source files, so a search of it says nothing.")
    return sources


def is_code(file: str) -> bool:
    """Whether the file is code that is parsed."""
    return _ending(file) in CODE


def is_searched(file: str) -> bool:
    """Whether the file is searched at all."""
    return _ending(file) in CODE | PLAIN


def _ending(file: str) -> str:
    return file.rpartition("/")[2].rpartition(".")[2].lower()


def _files(root: Path) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise SearchRefused(f"{_inside(root, Path(error.filename))} cannot be read.") from error

    for folder, folders, files in os.walk(root, onerror=refuse):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in [*folders, *files]:
            if (here / name).is_symlink():
                _insist_inside(root, here / name)
        for name in files:
            file = _inside(root, here / name)
            if not is_searched(file) or (here / name).is_symlink():
                continue
            if wrong := wrong_path(file):
                raise SearchRefused(f"The name of the file {file!a} {wrong}.")
            yield file


def _insist_inside(root: Path, link: Path) -> None:
    """Refuse a link out of the checkout. One that stays inside is found at its target."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        if is_searched(link.name):
            raise SearchRefused(f"{_inside(root, link)} is a link to nothing.") from error
        return
    if not target.is_relative_to(root):
        raise SearchRefused(f"{_inside(root, link)} is a link out of the checkout.")
    if any(part in SKIPPED for part in target.relative_to(root).parts):
        raise SearchRefused(f"{_inside(root, link)} is a link into a folder that is not searched.")


def _inside(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _read(path: Path, file: str) -> str:
    try:
        if not path.is_file() or path.stat().st_size > _LONGEST_FILE:
            raise SearchRefused(f"{file} is not a file of at most {_LONGEST_FILE // 1024 // 1024} MiB.")
        return path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise SearchRefused(f"{file} cannot be read.") from error


def commit_of(path: Path) -> str:
    """The commit that the checkout is at; empty if it has none. A changed file cannot be noticed."""
    try:
        git, common = _git_of(path)
        return _resolved((git / "HEAD").read_text().strip(), git, common)
    except (OSError, UnicodeDecodeError):
        return ""


def repository_of(path: Path) -> str:
    """The repository of the checkout: host and path of its origin, without a password, or else the folder's name."""
    try:
        _git, common = _git_of(path)
        origin = _ORIGIN.search((common / "config").read_text())
    except (OSError, UnicodeDecodeError):
        origin = None
    if origin is None or not (found := _ADDRESS.fullmatch(origin["url"])):
        return path.resolve().name[:LONGEST_REPOSITORY]
    return f"{found['host'] or ''}/{found['path']}".strip("/")[:LONGEST_REPOSITORY]


def _git_of(path: Path) -> tuple[Path, Path]:
    """The folder of git, and the one that its worktrees share. Raises OSError if there is none."""
    folders = (path.resolve(), *path.resolve().parents)
    git = next((folder / ".git" for folder in folders if (folder / ".git").exists()), None)
    if git is None:
        raise FileNotFoundError(path)
    if git.is_file():  # a worktree or a submodule
        git = (git.parent / git.read_text().removeprefix("gitdir:").strip()).resolve()
    if (git / "commondir").is_file():
        return git, (git / (git / "commondir").read_text().strip()).resolve()
    return git, git


def _resolved(head: str, git: Path, common: Path, depth: int = 5) -> str:
    if _COMMIT.fullmatch(head):
        return head
    name = head.removeprefix("ref:").strip()
    if not depth or not head.startswith("ref:") or ".." in name or not name.startswith("refs/"):
        return ""
    for folder in (git, common):
        if (folder / name).is_file():
            return _resolved((folder / name).read_text().strip(), git, common, depth - 1)
    packed = common / "packed-refs"
    for line in packed.read_text().splitlines() if packed.is_file() else ():
        commit, _, reference = line.partition(" ")
        if reference == name and _COMMIT.fullmatch(commit):
            return commit
    return ""
