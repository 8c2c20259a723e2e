"""Examples in README, docs and docstrings do what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from telemetry_readers import receiving

import lyredb
from lyredb import _engine
from lyredb.presets import page

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = [
    "lyredb",
    *(each.name for each in pkgutil.walk_packages(lyredb.__path__, "lyredb.") if each.name != "lyredb.__main__"),
]

PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([^)#\s]+)")
TEST = re.compile(r"`(\w+)`")


def has_python(file: Path) -> bool:
    return bool(PYTHON_BLOCK.search(file.read_text()))


@pytest.fixture(scope="module")
def otlp_receiver() -> Iterator[str]:
    with receiving() as (_, address):
        yield f"http://{address}"


@pytest.mark.parametrize("file", [*filter(has_python, PAGES)], ids=lambda file: file.name)
def test_the_examples_of_a_page_run_one_after_the_other(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, otlp_receiver: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp_receiver)
    monkeypatch.chdir(tmp_path)
    text = file.read_text()
    names: dict[str, Any] = {"__name__": "example"}
    for block in PYTHON_BLOCK.finditer(text):
        # Blank lines before it, so that a traceback has the page's own line numbers.
        source = "\n" * (text.count("\n", 0, block.start()) + 1) + block[1]
        exec(compile(source, str(file), "exec"), names)


def test_readme_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    block = PYTHON_BLOCK.search((ROOT / "README.md").read_text())
    assert block
    exec(block[1], {})
    printed = capsys.readouterr().out.strip()
    assert printed
    assert f"# {printed}\n" in block[1]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_the_page_of_tunables_is_current() -> None:
    assert (ROOT / "docs" / "tunables.md").read_text() == page.render(), "run `make docs`"


@pytest.mark.parametrize("file", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda file: file.name)
def test_links_between_files_lead_somewhere(file: Path) -> None:
    for text, target in LINK.findall(file.read_text()):
        linked = file.parent / target
        assert linked.exists(), f"{file.name} links to {target}"
        # A test that is named is to be in the file that its name leads to.
        if (named := TEST.fullmatch(text)) and linked.is_file():
            assert re.search(rf"\b(fn|def) {named[1]}\b", linked.read_text()), f"{target} has no {named[1]}"


def stub_docstrings() -> Iterator[tuple[str, str, str]]:
    """(class, member, docstring) of the native module's type stubs; a class of the stubs only counts for its heirs."""
    tree = ast.parse((ROOT / "lyredb" / "_engine.pyi").read_text())
    classes = {each.name: each for each in tree.body if isinstance(each, ast.ClassDef)}

    def members(name: str) -> Iterator[tuple[str, str]]:
        for base in classes[name].bases:
            inherited = base.value if isinstance(base, ast.Subscript) else base
            if isinstance(inherited, ast.Name) and inherited.id in classes:
                yield from members(inherited.id)
        for each in classes[name].body:
            if isinstance(each, ast.FunctionDef) and (text := ast.get_docstring(each)):
                yield each.name, text

    for name in classes:
        if not name.startswith("_"):
            yield from ((name, member, text) for member, text in members(name) if not member.startswith("__"))


def test_help_says_what_the_type_stubs_say() -> None:
    documented = list(stub_docstrings())
    assert ("Family", "scan") in {(kind, member) for kind, member, _ in documented}
    for kind, member, text in documented:
        assert inspect.getdoc(getattr(getattr(_engine, kind), member)) == text, f"{kind}.{member}"
