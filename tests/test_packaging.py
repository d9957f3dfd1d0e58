"""The wheel as its users get it: built, installed in an environment of its own, and run far from the checkout."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import zkalert

CHECKOUT = Path(__file__).parents[1]
OLDEST = "3.10"

GOOD = """\
rules:
  - name: memory-high
    metric: memory_usage.percent
    comparator: ">"
    threshold: 90
    duration: 2m
"""
BAD = GOOD.replace("memory_usage", "memory_usige")


@dataclass(frozen=True)
class Installed:
    """zkalert in an environment of its own: its folder of programs, and a folder to run in."""

    programs: Path
    home: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return run([str(self.programs / program), *arguments], cwd=self.home, environ=environ)


def run(
    command: Sequence[str], *, cwd: Path = CHECKOUT, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=environ, text=True, capture_output=True, timeout=110, check=False)


def succeed(command: Sequence[str]) -> None:
    result = run(command)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    succeed([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)])
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(wheel, tmp_path_factory.mktemp("installed"), sys.executable)


def install(wheel: Path, home: Path, python: str) -> Installed:
    environment = home / "environment"
    succeed([python, "-m", "venv", "--without-pip", str(environment)])
    # This environment's pip installs into the other, which needs none of its own.
    target = ["--python", str(environment / "bin/python")]
    succeed([sys.executable, "-m", "pip", *target, "install", "--quiet", "--no-compile", str(wheel)])
    return Installed(environment / "bin", home)


def oldest_python() -> str | None:
    """The oldest Python that zkalert promises to run on, where this machine has it; pyenv hides those not in use."""
    hidden = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{OLDEST}.*/bin/python")
    for python in (f"python{OLDEST}", *map(str, hidden)):
        with contextlib.suppress(OSError):
            found = run([python, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"])
            if found.stdout.strip() == OLDEST:
                return python
    return None


def test_the_wheel_brings_schemas_and_rules_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for kind in ("schemas", "rules"):
        shipped = {
            f"zkalert/data/{kind}/{path.relative_to(CHECKOUT / kind)}"
            for path in (CHECKOUT / kind).rglob("*")
            if path.is_file()
        }
        assert shipped
        assert shipped <= names
    assert "zkalert/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"zkalert", f"zkalert-{zkalert.__version__}.dist-info"}


def test_the_wheel_holds_no_caches(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "__pycache__" in name or name.endswith(".pyc")]


def test_the_command_tells_its_version(installed: Installed) -> None:
    result = installed.run("zkalert", "--version")
    assert (result.returncode, result.stdout.strip()) == (0, f"zkalert {zkalert.__version__}")


def test_it_runs_as_a_module_without_anything_that_only_developers_have(installed: Installed) -> None:
    result = installed.run(
        "python", "-c", "import importlib.util as u; print([n for n in ('pytest', 'mypy', 'ruff') if u.find_spec(n)])"
    )
    assert result.stdout.strip() == "[]"
    assert installed.run("python", "-m", "zkalert", "--version").returncode == 0


def test_it_runs_on_the_oldest_python_that_it_names(wheel: Path, tmp_path: Path) -> None:
    python = oldest_python()
    if python is None:
        pytest.skip(f"no Python {OLDEST} here")
    old = install(wheel, tmp_path, python)
    everything = (
        "import importlib, pkgutil, zkalert\n"
        "names = [one.name for one in pkgutil.walk_packages(zkalert.__path__, 'zkalert.')]\n"
        "print(len([importlib.import_module(name) for name in names if not name.endswith('__main__')]))"
    )
    result = old.run("python", "-W", "error", "-c", everything)
    assert (result.returncode, result.stderr) == (0, "")
    assert int(result.stdout) > 200
    rules = CHECKOUT / "tests/packs/kafka.test.yaml"
    result = old.run("zkalert", "test", str(rules))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("text", "exit_code", "said"),
    [
        pytest.param(GOOD, 0, "", id="good rules"),
        pytest.param(BAD, 1, "memory_usage", id="a metric misspelt: the right one is named"),
    ],
)
def test_rules_are_checked_by_the_schemas_of_the_wheel(
    installed: Installed, text: str, exit_code: int, said: str
) -> None:
    (installed.home / "rules.yaml").write_text(text, encoding="utf-8")
    result = installed.run("zkalert", "validate", "rules.yaml")
    assert result.returncode == exit_code, result.stdout + result.stderr
    assert said in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_the_rules_of_the_wheel_are_good(installed: Installed) -> None:
    (rules,) = installed.home.glob("environment/lib/python*/site-packages/zkalert/data/rules")
    result = installed.run("zkalert", "validate", str(rules))
    assert result.returncode == 0, result.stdout + result.stderr


def test_wrong_usage_has_an_exit_code_of_its_own(installed: Installed) -> None:
    result = installed.run("zkalert", "validate", "--nonsense")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
