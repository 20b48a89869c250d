"""Imports point one way: overlay.core <- overlay <- node; simulations may import both."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
IO_AND_CLOCKS = {"trio", "asyncio", "socket", "time"}
XMPP = {"slixmpp", "asyncio"}


def imported_modules(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, at any depth of the file."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def offences(room: str, forbidden: set[str], but: str = "") -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sorted((ROOT / room).rglob("*.py"))
        if not but or not path.is_relative_to(ROOT / but)
        for module in imported_modules(path)
        if any(module == name or module.startswith(f"{name}.") for name in forbidden)
    ]


def test_the_core_has_no_io_and_no_clock() -> None:
    assert offences("overlay/core", IO_AND_CLOCKS) == []


def test_the_core_imports_nothing_of_the_rooms_around_it() -> None:
    shell = {f"overlay.{path.stem}" for path in (ROOT / "overlay").glob("[!_]*.py")}
    assert shell
    assert offences("overlay/core", {*shell, "node", "simulations", "tests"}) == []


def test_the_overlay_knows_nothing_of_nodes() -> None:
    assert offences("overlay", {"node", "simulations", "tests", *XMPP}) == []


def test_a_node_knows_nothing_of_simulations_except_to_start_them_by_command() -> None:
    found = offences("node", {"simulations", "tests"})
    assert [offence for offence in found if not offence.startswith("node/commands/simulated")] == []


@pytest.mark.parametrize("room", ["overlay", "node"])
def test_only_the_xmpp_room_touches_asyncio(room: str) -> None:
    assert offences(room, XMPP, but="node/xmpp") == []


def test_an_offence_is_seen() -> None:
    assert offences("overlay", {"trio"}) != []
