"""Where this machine keeps a ZooKeeper server and a Java, or the command that installs what is missing."""

from __future__ import annotations

import platform
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zkalert.model import ServerUnavailable

TARBALL = "https://archive.apache.org/dist/zookeeper/zookeeper-3.9.4/apache-zookeeper-3.9.4-bin.tar.gz"

_DEBIAN_JARS = "usr/share/java"
# The manifest of the first names nearly all that it needs: not what writes the log, and parts of the AdminServer and
# of TLS.
_DEBIAN_CLASSES = ("zookeeper", "slf4j-simple", "servlet-api", "netty-codec", "netty-resolver")
_HOMEBREW = ("opt/homebrew/opt", "usr/local/opt")
_APT = "sudo apt-get install --no-install-recommends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A server that can be run: the `java` program, and the class path in its own notation."""

    java: str
    class_path: str


def find_zookeeper(environ: Mapping[str, str], root: Path = Path("/")) -> Installation:
    """The server to run: that of ZOOKEEPER_HOME, of Debian's packages, or of Homebrew, in this order.

    `root` stands before the well-known places. Raises ServerUnavailable, with the command that installs what is
    missing, where there is no server or no Java.
    """
    class_path = _named_jars(environ) or _packaged_jars(root)
    java = _find_java(environ, root)
    if class_path is None or java is None:
        missing = "no ZooKeeper server" if class_path is None else "a ZooKeeper server, but no Java to run it,"
        hint = install_hint(platform.system(), _system_names(root), java_only=class_path is not None)
        raise ServerUnavailable(f"{missing} was found on this machine; {hint}, or name an ensemble with --zookeeper")
    return Installation(java=java, class_path=class_path)


def install_hint(system: str, names: frozenset[str], *, java_only: bool) -> str:
    """What to do on this system.

    `system` is what `platform.system()` says, `names` are the ID and ID_LIKE of os-release.
    """
    if system == "Darwin":
        return f"install it: brew install {'openjdk' if java_only else 'zookeeper'}"
    if names & {"debian", "ubuntu"}:
        packages = "default-jre-headless" if java_only else "libzookeeper-java default-jre-headless"
        return f"install it: {_APT} {packages}"
    java = "install Java 11 or newer"
    if names & {"fedora", "rhel", "centos"}:
        java = "install Java: sudo dnf install java-21-openjdk-headless"
    if java_only:
        return java
    return f"{java}, unpack {TARBALL} and set ZOOKEEPER_HOME to its folder"


def _named_jars(environ: Mapping[str, str]) -> str | None:
    home = environ.get("ZOOKEEPER_HOME")
    if not home:
        return None
    class_path = _tarball_jars(Path(home))
    if class_path is None:
        raise ServerUnavailable(f"ZOOKEEPER_HOME is {home}, but there is no zookeeper-*.jar in it or in its lib/")
    return class_path


def _tarball_jars(home: Path) -> str | None:
    """The class path of an unpacked release: 3.5 and later keep all in lib/, 3.4 its own jar above."""
    folders = (home / "lib", home)
    if not any(any(folder.glob("zookeeper-*.jar")) for folder in folders):
        return None
    return ":".join(f"{folder.absolute()}/*" for folder in folders)


def _packaged_jars(root: Path) -> str | None:
    debian = root / _DEBIAN_JARS
    if (debian / "zookeeper.jar").exists():
        return ":".join(f"{debian}/{name}.jar" for name in _DEBIAN_CLASSES)
    for prefix in _HOMEBREW:
        class_path = _tarball_jars(root / prefix / "zookeeper/libexec")
        if class_path is not None:
            return class_path
    return None


def _find_java(environ: Mapping[str, str], root: Path) -> str | None:
    """`java` of JAVA_HOME, of Homebrew (it leaves PATH alone, where macOS has a stand-in), or of PATH."""
    homes = [Path(environ["JAVA_HOME"])] if environ.get("JAVA_HOME") else []
    homes += [root / prefix / "openjdk" for prefix in _HOMEBREW]
    for home in homes:
        if (home / "bin/java").is_file():
            return str(home / "bin/java")
    return shutil.which("java", path=environ.get("PATH", ""))


def _system_names(root: Path) -> frozenset[str]:
    """ID and ID_LIKE of os-release; empty where there is none."""
    try:
        text = (root / "etc/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    words = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}"
    return frozenset(shlex.split(words.replace('"', " ").replace("'", " ")))
