"""The unit is hardened, and what is packaged says what the code does."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from node.cli import USAGE
from node.errors import UserError
from node.install.config_file import render
from node.install.questions import Answers
from node.install.written import DROP_IN, UNIT, Installation, install, packaged, unit_text
from node.settings import RunSettings
from node.settings.shared import DEFAULT_PORT
from tests.node.install.test_config_file import HELPS

VENV = "/opt/jingle-nodes"

MOST_EXPOSED = 2.0
"""Of 10: what systemd-analyze calls OK."""


def analyze(*arguments: str) -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        raise RuntimeError("systemd-analyze is missing: apt-get install systemd")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def exposure(unit: Path) -> float:
    said = analyze("security", "--offline=true", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found, said
    return float(found[1])


def written_unit(directory: Path) -> Path:
    secret = directory / "node.secret"
    settings = RunSettings(jid="a@b.example")
    made = install(
        Installation(directory / "node.toml", directory), Answers(settings, "geheim"), HELPS
    )
    assert made == [secret, directory / "node.toml", directory / UNIT]
    return directory / UNIT


def test_the_unit_is_hardened_and_has_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.install.written.UNSEEN", ())
    unit = written_unit(tmp_path)
    assert exposure(unit) <= MOST_EXPOSED
    assert analyze("verify", str(unit)) == ""
    text = unit.read_text()
    assert f"run --config {tmp_path}/node.toml" in text
    assert f"LoadCredential=secret:{tmp_path}/node.secret" in text
    assert "/opt" not in text
    assert "/etc" not in text


def test_the_drop_in_adds_the_administration_of_networks_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.install.written.UNSEEN", ())
    installation = Installation(tmp_path / "node.toml", tmp_path, kernel_forwarder=True)
    made = install(installation, Answers(RunSettings(jid="a@b.example"), "geheim"), HELPS)
    assert made[-1] == tmp_path / f"{UNIT}.d" / DROP_IN
    unit = tmp_path / UNIT
    settings = made[-1].read_text().partition("[Service]")[2]
    unit.write_text(unit.read_text().replace("[Install]", f"{settings}\n[Install]"))
    said = analyze("security", "--offline=true", "--no-pager", str(unit))
    lost = {line.split()[1] for line in said.splitlines() if line.startswith("✗")}
    assert {name for name in lost if "CapabilityBoundingSet" in name} == {
        "CapabilityBoundingSet=~CAP_NET_ADMIN"
    }
    assert "AmbientCapabilities=" in lost


def test_a_node_that_is_refused_for_ever_does_not_hammer_its_server() -> None:
    sections = configparser.ConfigParser(strict=False, interpolation=None)
    sections.optionxform = str  # type: ignore[assignment, method-assign]
    sections.read_string(packaged(UNIT))
    service, unit = sections["Service"], sections["Unit"]
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == str(USAGE)
    pause, most = int(service["RestartSec"]), int(unit["StartLimitBurst"])
    assert pause >= 60
    # It gives up within the period in which its starts are counted, but not before a night is over.
    assert unit["StartLimitIntervalSec"] == "1d"
    assert 8 * 3600 < pause * most < 86400


@pytest.mark.parametrize("path", ["/a b", "/a%b", "/a'b", '/a"b', "/a$b", "/a:b", "/a\nb"])
def test_names_that_systemd_would_read_otherwise(path: str) -> None:
    plain = Path("/plain")
    for paths in (
        (Path(path), plain, plain),
        (plain, Path(path), plain),
        (plain, plain, Path(path)),
    ):
        with pytest.raises(UserError, match="plainer name"):
            unit_text(*paths)


def test_a_file_that_fails_takes_those_before_it_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.install.written.UNSEEN", ())
    (tmp_path / "units").write_text("")
    installation = Installation(tmp_path / "node.toml", tmp_path / "units")
    with pytest.raises(UserError, match=r"cannot write .*units/jingle-nodes\.service"):
        install(installation, Answers(RunSettings(jid="a@b"), "geheim"), HELPS)
    assert [path.name for path in tmp_path.iterdir()] == ["units"]


def test_the_container_has_no_root_and_no_secret() -> None:
    text = packaged("Containerfile")
    build, run = text.split("\nFROM ")[1:]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", build, re.M)
    top = {name for names in copied for name in names.split()}
    project = Path(__file__).parents[3]
    assert all((project / name).exists() for name in top)
    assert top >= {"pyproject.toml", "overlay", "node", "simulations", "README.md", "LICENSE"}
    assert re.findall(r"^COPY (.+)$", run, re.M) == [f"--from=build {VENV} {VENV}"]
    assert re.search(r"^USER 4278:4278$", run, re.M)
    assert (
        f"EXPOSE {DEFAULT_PORT}/udp {RunSettings.turn_port}/udp {RunSettings.relay_ports}/udp"
        in run
    )
    assert "ENTRYPOINT [" in run
    for key in re.findall(r"JINGLE_NODES_(\w+)=", run):
        assert f"#{key.lower()} =" in render(RunSettings(), HELPS)
