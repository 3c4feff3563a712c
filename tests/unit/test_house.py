"""The plan of the house: small modules and folders, unique class names, pages that name what exists."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "bemi_django"
MODULES = sorted(PACKAGE.rglob("*.py"))
HELPERS = sorted(
    path
    for folder in ("bench", "sample_project", "tests/support", "tests/foreign")
    for path in (ROOT / folder).rglob("*.py")
)
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
MAX_LINES = 250
MAX_MODULES = 14


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("module", [*MODULES, *HELPERS], ids=names([*MODULES, *HELPERS]))
def test_a_module_is_short(module: Path) -> None:
    lines = len(module.read_text().splitlines())
    assert lines <= MAX_LINES, f"{module.relative_to(ROOT)} has {lines} lines: divide it by what it does"


def test_a_folder_has_few_modules() -> None:
    modules: dict[str, int] = defaultdict(int)
    for module in MODULES:
        modules[str(module.parent.relative_to(ROOT))] += module.name != "__init__.py"
    full = {folder: number for folder, number in modules.items() if number > MAX_MODULES}
    assert not full, f"make rooms in these folders: {full}"


def test_a_class_name_occurs_once_unless_the_architecture_explains_it() -> None:
    modules = defaultdict(set)
    for module in MODULES:
        for name in classes(module):
            modules[name].add(str(module.relative_to(ROOT)))
    repeated = {name: sorted(found) for name, found in modules.items() if len(found) > 1}
    section = (ROOT / "docs/architecture.md").read_text().split("### Class names that occur twice")[1]
    explained = set(re.findall(r"^\| `(\w+)` \|", section.split("\n## ")[0], re.MULTILINE))
    assert set(repeated) == explained, f"rename, or explain in docs/architecture.md: {repeated}"


def classes(module: Path) -> Iterator[str]:
    """The classes at the top of a module: what is inside a class or function has the name of its owner."""
    for node in ast.parse(module.read_text()).body:
        for found in node.body if isinstance(node, ast.If) else [node]:
            if isinstance(found, ast.ClassDef):
                yield found.name


def test_a_named_tuple_has_no_other_base() -> None:
    """Python 3.10 refuses generic ones, when the module is imported."""
    found = []
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef) and len(node.bases) > 1:
                found += [
                    f"{module.name}: {node.name}" for base in node.bases if ast.unparse(base) == "NamedTuple"
                ]
    assert not found, f"make these classes dataclasses: {found}"


def test_the_picture_of_the_rooms_shows_them_all() -> None:
    picture = (ROOT / "docs/architecture.md").read_text().split("```")[1]
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    rooms |= {path.stem for path in PACKAGE.glob("*.py")}
    missing = {room for room in rooms if not re.search(rf"\b{room}\b", picture)}
    assert missing <= {"__init__", "apps", "exceptions", "management", "migrations"}, missing


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_the_files_and_modules_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    files = re.findall(r"`((?:tests|bench|docs|bemi_django|ingest|capture|log|schema)/[\w/]+\.\w+)`", text)
    missing += [file for file in files if not (ROOT / file).exists() and not (PACKAGE / file).exists()]
    modules = re.findall(r"(?:from|import) (bemi_django[\w.]*)", text)
    missing += [module for module in modules if not is_module(module)]
    assert not missing, f"{page.relative_to(ROOT)} names what is not there: {missing}"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_the_headings_that_a_page_links_to_exist(page: Path) -> None:
    missing = []
    for target, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", page.read_text()):
        found = (page.parent / target).read_text() if target else page.read_text()
        headings = re.findall(r"^#+ (.*)$", found, re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        missing += [] if anchor in slugs else [f"{target}#{anchor}"]
    assert not missing, f"{page.relative_to(ROOT)} links to headings that are not there: {missing}"


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_what_is_imported_at_once_is_required() -> None:
    """The rest of the package imports other packages when they are used, or is imported by who uses them."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    required = {re.split(r"[^\w-]", line)[0] for line in settings["options"]["install_requires"].split("\n")}
    # Django requires these itself.
    known = {*sys.stdlib_module_names, "bemi_django", "asgiref", "sqlparse", "psycopg2", *required}
    optional = (
        "archive/",
        "integrations",
        "testing",
        "capture/hooks/every_engine.py",
        "capture/hooks/sqlalchemy_",
    )
    for module in MODULES:
        if not str(module.relative_to(PACKAGE)).startswith(optional):
            missing = set(imported_at_once(module)) - known
            assert not missing, f"{module.relative_to(ROOT)}: add {missing} to install_requires"


def imported_at_once(module: Path) -> Iterator[str]:
    """The packages whose import is a statement of the module itself."""
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]
