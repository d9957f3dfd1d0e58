"""zkalert.yaml, environment and flags become one Config, or findings without secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zkalert import config
from zkalert.config import Config, Flags
from zkalert.model import DocumentError, Finding, UsageError

FULL = """
zookeeper:
  hosts: zk1:2181,zk2:2181,zk3:2181
  root: /monitoring
  session_timeout: 20s
  auth: {digest: "zkalert:${PASSWORD}"}
  tls: {ca: ca.pem, cert: /etc/client.pem, key: client.key}
host: web1
labels: {role: kafka, dc: "${DC}"}
sampler:
  intervals: {cpu_usage: 2s, disk_usage: 1m}
history: {max_age: 1d, max_size: 10MiB}
rules: [rules/, /etc/zkalert/rules]
channels:
  ops: {urls: ["mailto://u:${PASSWORD}@h", "file:slack.url"]}
state_dir: state
"""
ENVIRON = {"PASSWORD": "hunter2", "DC": "gru1"}


def load(folder: Path, text: str, flags: Flags | None = None, environ: dict[str, str] | None = None) -> Config:
    path = folder / "zkalert.yaml"
    path.write_text(text)
    flags = flags or Flags(state_dir=folder / "state")
    return config.load(
        Flags(
            config=path,
            zookeeper=flags.zookeeper,
            root=flags.root,
            state_dir=flags.state_dir,
            host=flags.host,
            rules=flags.rules,
        ),
        ENVIRON if environ is None else environ,
    )


def findings(folder: Path, text: str, environ: dict[str, str] | None = None) -> tuple[Finding, ...]:
    with pytest.raises(DocumentError) as caught:
        load(folder, text, environ=environ)
    assert "hunter2" not in repr(caught.value.findings) + str(caught.value)
    return caught.value.findings


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "slack.url").write_text("slack://hunter2/b/c\n")
    read = load(tmp_path, FULL, Flags())
    assert read.zookeeper is not None
    assert (read.zookeeper.hosts, read.zookeeper.root) == ("zk1:2181,zk2:2181,zk3:2181", "/monitoring")
    assert (read.zookeeper.session_timeout, read.zookeeper.digest) == (20.0, "zkalert:hunter2")
    assert read.zookeeper.tls is not None
    assert read.zookeeper.tls.ca == str(tmp_path / "ca.pem")
    assert read.zookeeper.tls.cert == "/etc/client.pem"
    assert (read.host, read.labels) == ("web1", {"role": "kafka", "dc": "gru1"})
    assert read.intervals == {"cpu_usage": 2.0, "disk_usage": 60.0}
    assert (read.history.max_age, read.history.max_size) == (86400.0, 10 * 2**20)
    assert read.rules == (tmp_path / "rules", Path("/etc/zkalert/rules"))
    assert read.channels["ops"].urls == ("mailto://u:hunter2@h", "slack://hunter2/b/c")
    assert (read.state_dir, read.source) == (tmp_path / "state", tmp_path / "zkalert.yaml")


def test_no_secret_is_in_the_repr(tmp_path: Path) -> None:
    (tmp_path / "slack.url").write_text("slack://hunter2/b/c")
    assert "hunter2" not in repr(load(tmp_path, FULL))


def test_an_empty_file_is_a_configuration(tmp_path: Path) -> None:
    read = load(tmp_path, "# nothing yet\n")
    assert read.zookeeper is None
    assert read.host
    assert (read.rules, read.channels) == ((), {})


def test_without_any_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "DEFAULT_FILES", (Path("zkalert.yaml"),))
    read = config.load(Flags(), {"XDG_STATE_HOME": "/var/state"})
    assert (read.source, read.zookeeper, read.state_dir) == (None, None, Path("/var/state/zkalert"))
    assert config.load(Flags(), {"XDG_STATE_HOME": "relative"}).state_dir == Path.home() / ".local/state/zkalert"


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    text = "zookeeper: {hosts: file:1, root: /file}\nhost: file\nrules: [file]\nstate_dir: file\n"
    environ = {
        "ZKALERT_ZOOKEEPER": "environ:1",
        "ZKALERT_ROOT": "/environ",
        "ZKALERT_HOST": "environ",
        "ZKALERT_STATE_DIR": str(tmp_path / "environ"),
    }
    flags = Flags(
        zookeeper="flag:1", root="/flag", host="flag", state_dir=tmp_path / "flag", rules=(Path("flag.yaml"),)
    )

    def told(read: Config) -> tuple[object, ...]:
        assert read.zookeeper is not None
        return read.zookeeper.hosts, read.zookeeper.root, read.host, read.state_dir.name, read.rules[0].name

    assert told(load(tmp_path, text, Flags(), {})) == ("file:1", "/file", "file", "file", "file")
    assert told(load(tmp_path, text, Flags(), environ)) == ("environ:1", "/environ", "environ", "environ", "file")
    assert told(load(tmp_path, text, flags, environ)) == ("flag:1", "/flag", "flag", "flag", "flag.yaml")


def test_a_chroot_in_the_hosts_is_the_root(tmp_path: Path) -> None:
    read = load(tmp_path, "zookeeper: {hosts: 'zk1:2181/monitoring'}")
    assert read.zookeeper is not None
    assert read.zookeeper.root == "/"


def test_two_dollars_stand_for_one(tmp_path: Path) -> None:
    assert load(tmp_path, "host: $${DC}-$5-${DC}").host == "${DC}-$5-gru1"


@pytest.mark.parametrize(
    ("text", "place", "code", "said"),
    [
        ("host: ${NOPE}", (1, 7), "no-variable", "the environment variable NOPE is not set"),
        ("host: ${1:x}", (1, 7), "no-variable", "no variable's name"),
        ("hosts: web1", (1, 1), "unknown-key", "did you mean host?"),
        ("zookeeper: {hosts: 'zk1:99999'}", (1, 20), "wrong-value", "a port beyond 65535"),
        ("zookeeper: {hosts: 'http://zk1'}", (1, 20), "wrong-value", "not a list of servers"),
        ("zookeeper: {hosts: zk1, root: zkalert}", (1, 31), "wrong-value", "does not start with /"),
        ("zookeeper: {hosts: zk1, root: /a//b}", (1, 31), "wrong-value", "empty part"),
        ("zookeeper: {session_timeout: 100ms}", (1, 30), "wrong-duration", "1s to 1m"),
        ("zookeeper: {session_timeout: 10}", (1, 30), "wrong-type", "did you mean 10s?"),
        ("zookeeper: {auth: {digest: hunter2}}", (1, 28), "wrong-digest", "user:password"),
        ("zookeeper: {tls: {cert: a.pem, key: b.pem}}", (1, 18), "missing-key", "the key ca is missing"),
        ("zookeeper: {tls: {ca: a.pem, cert: b.pem}}", (1, 18), "missing-key", "the key key is missing"),
        ("sampler: {intervals: {cpu: 5s}}", (1, 23), "unknown-family", "cpu_usage"),
        ("sampler: {intervals: {cpu_usage: 1ms}}", (1, 34), "wrong-duration", "100ms to 1d"),
        ("history: {max_size: 5 elephants}", (1, 21), "wrong-size", "elephants"),
        ("history: {max_size: 5kB}", (1, 21), "wrong-size", "less than 1MiB"),
        ("history: {max_age: 0s}", (1, 20), "wrong-duration", "1m to"),
        ("rules: rules/", (1, 8), "wrong-type", "a list of paths"),
        ("labels: {rack: 12}", (1, 16), "wrong-type", 'quote it: "12"'),
        ("channels: {ops: {urls: hunter2}}", (1, 24), "wrong-type", "a list of at least one URL"),
        ("channels: {ops: {urls: [hunter2]}}", (1, 25), "wrong-url", "a URL of a service"),
        ("channels: {ops: {urls: ['file:nowhere']}}", (1, 25), "unreadable", "No such file"),
        ("channels: {ops: {}}", (1, 17), "missing-key", "the key urls is missing"),
        ("channels: {'o p s': {urls: ['json://h']}}", (1, 12), "wrong-key", "cannot be a key"),
        ("- a", (1, 1), "wrong-type", "a mapping"),
        ("host: [", (2, 1), "yaml-syntax", "closing bracket"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, text: str, place: tuple[int, int], code: str, said: str
) -> None:
    [finding] = findings(tmp_path, text)
    assert (finding.line, finding.column, finding.code) == (*place, code)
    assert said in f"{finding.message}\n{finding.expected}\n{finding.hint}"


def test_all_findings_come_at_once(tmp_path: Path) -> None:
    text = "zookeeper: {session_timeout: 2m, hosts: a b}\nhost: ${NOPE}\nchannels: {ops: {urls: [nope]}}\n"
    assert [finding.line for finding in findings(tmp_path, text)] == [1, 1, 2, 3]


def test_a_file_with_a_secret_in_it_is_told_by_its_reason_alone(tmp_path: Path) -> None:
    (tmp_path / "hunter2.bin").write_bytes(b"\xff\xfe")
    [finding] = findings(tmp_path, "channels: {ops: {urls: ['${A}']}}", {"A": f"file:{tmp_path}/hunter2.bin"})
    assert (finding.code, "UTF-8" in finding.message) == ("unreadable", True)


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        (Flags(zookeeper="a b"), {}, "--zookeeper: not a list of servers"),
        (Flags(root="zkalert"), {}, "--root: does not start with /"),
        (Flags(), {"ZKALERT_ROOT": "x"}, "ZKALERT_ROOT: does not start with /"),
        (Flags(host="a\nb"), {}, "--host or ZKALERT_HOST"),
    ],
    ids=["zookeeper", "root", "variable", "host"],
)
def test_a_flag_that_cannot_work_is_wrong_usage(
    tmp_path: Path, flags: Flags, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        load(tmp_path, "", flags, environ)
    assert not isinstance(caught.value, DocumentError)


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        config.load(Flags(config=tmp_path / "nope.yaml"), {})
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        config.load(Flags(), {"ZKALERT_CONFIG": str(tmp_path / "nope.yaml")})


@pytest.mark.parametrize("who", ["file", "folder", "sticky folder"])
def test_a_file_that_anybody_could_have_put_here_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    path = tmp_path / "zkalert.yaml"
    path.write_text("host: evil\n")
    monkeypatch.chdir(tmp_path)
    assert config.load(Flags(), {}).host == "evil"
    if who == "file":
        path.chmod(0o666)
    else:
        tmp_path.chmod(0o1777 if who.startswith("sticky") else 0o777)
    with pytest.raises(UsageError, match="everybody may write"):
        config.load(Flags(), {})
    assert config.load(Flags(config=path), {}).host == "evil"


def test_a_file_without_faults_costs_no_explanations(tmp_path: Path) -> None:
    """The sampler is to stay small: jsonschema takes ten megabytes, and is needed only to say what is wrong."""
    (tmp_path / "zkalert.yaml").write_text("host: web1\nstate_dir: deep/state\n")
    script = (
        "import sys; from pathlib import Path; from zkalert import config;"
        "print(config.load(config.Flags(config=Path('zkalert.yaml'))).host, 'jsonschema' in sys.modules)"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True)
    assert done.stdout == "web1 False\n"
    assert not (tmp_path / "deep").exists()


def test_what_depends_on_the_environment_is_checked_each_time(tmp_path: Path) -> None:
    assert load(tmp_path, "host: ${DC}").host == "gru1"
    assert [finding.code for finding in findings(tmp_path, "host: ${DC}", {})] == ["no-variable"]
