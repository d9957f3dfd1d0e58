"""zkalert.yaml, environment and flags become one Config, or findings without secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.configkit import findings, load
from zkalert import config
from zkalert.config import Config, Flags, Heartbeat, PublishedRules, ZookeeperLost
from zkalert.model import (
    DocumentError,
    Format,
    HostDown,
    Level,
    Notify,
    QuietHours,
    Rate,
    Route,
    Run,
    Schedule,
    Severity,
    UsageError,
)

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
        ("rules: rules/", (1, 8), "wrong-value", "a list of paths and packs, or the word zookeeper"),
        ("published_rules: {shell: yes}", (1, 26), "wrong-type", "did you mean true?"),
        ("shell_actions: 'off'", (1, 16), "wrong-type", "did you mean false?"),
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


OPS = "channels: {ops: {urls: ['json://h'], min_severity: warning}}\n"


def channel(options: str) -> str:
    return f"channels:\n  ops: {{urls: ['webhook://h'], {options}}}\n"


@pytest.mark.parametrize(
    ("text", "line", "code", "said"),
    [
        (channel("min_severity: warn"), 2, "wrong-value", "did you mean warning?"),
        (channel("severity: warning"), 2, "unknown-key", "did you mean min_severity?"),
        (channel("rate: 10"), 2, "wrong-type", "1/s, 10/m or 30/h"),
        (channel("rate: 0/s"), 2, "wrong-value", "1/s, 10/m or 30/h"),
        (channel("rate: 1/day"), 2, "wrong-value", "1/s, 10/m or 30/h"),
        (channel("format: md"), 2, "wrong-value", "did you mean markdown?"),
        (channel("group_by: hosts"), 2, "wrong-value", "did you mean host?"),
        (channel("group_by: [rule, 'label:']"), 2, "wrong-value", "label:NAME"),
        (channel("group_interval: 2d"), 2, "wrong-duration", "0s to 1d"),
        (channel("secret: hunter2hunter2, secret2: x"), 2, "unknown-key", "did you mean secret?"),
        (channel("secret: '${NOPE}'"), 2, "no-variable", "NOPE is not set"),
        (channel("secret: 'file:nowhere'"), 2, "unreadable", "No such file"),
        (channel("templates: {}"), 2, "wrong-value", "title or body"),
        (channel("templates: {subject: x}"), 2, "unknown-key", "did you mean title?"),
        (channel("templates: {title: '{{ host'}"), 2, "template", "title: line 1"),
        (channel("templates: {body: '{{ hots }}'}"), 2, "template", "hots"),
        (channel("quiet_hours: {but: critical}"), 2, "missing-key", "neither days nor hours"),
        (channel("quiet_hours: {hours: 22-6}"), 2, "wrong-value", "did you mean 22:00-6:00?"),
        (channel("quiet_hours: {hours: ['22:00-22:00']}"), 2, "wrong-schedule", "is empty"),
        (channel("quiet_hours: {days: weekend}"), 2, "wrong-value", "did you mean sat-sun?"),
        (channel("quiet_hours: {days: sat, timezone: Europe/Brelin}"), 2, "unknown-timezone", "Europe/Berlin"),
        (channel("quiet_hours: {days: sat, but: [page]}"), 2, "wrong-value", "did you mean critical?"),
        ("group_by: [hosts]", 1, "wrong-value", "did you mean host?"),
        (OPS + "routes: [{channels: [osp]}]", 2, "unknown-channel", "did you mean ops?"),
        (OPS + "routes: [{channels: []}]", 2, "wrong-value", "at least one channel"),
        (OPS + "routes: [{match: {}}]", 2, "missing-key", "the key channels is missing"),
        (OPS + "routes: [{match: {severity: [error]}, channels: [ops]}]", 2, "wrong-value", "did you mean critical?"),
        (OPS + "routes: [{match: {hosts: web*}, channels: [ops]}]", 2, "unknown-key", "did you mean host?"),
        ("routes: [{channels: [ops]}]", 1, "unknown-channel", "a channel under channels:"),
        (OPS + "host_down: {action: osp}", 2, "unknown-channel", "did you mean ops?"),
        (OPS + "host_down: {action: [ops, x]}", 2, "unknown-channel", 'no channel "x"'),
        ("host_down: {after: 2d}", 1, "wrong-duration", "0s to 1d"),
        ("host_down: 'off'", 1, "wrong-type", "false, or a mapping"),
        (OPS + "on_zookeeper_lost: {channels: [osp]}", 2, "unknown-channel", "did you mean ops?"),
        (OPS + "on_zookeeper_lost: {channels: [ops], after: 100ms}", 2, "wrong-duration", "1s to 1d"),
        ("on_zookeeper_lost: {after: 5s}", 1, "missing-key", "the key channels is missing"),
        ("heartbeat: {url: 'ftp://hunter2/x'}", 1, "wrong-url", "http://HOST"),
        ("heartbeat: {url: 'https://h:99999/hunter2'}", 1, "wrong-url", "http://HOST"),
        ("heartbeat: {url: 'https://h/hunter2 x'}", 1, "wrong-url", "http://HOST"),
        ("heartbeat: {url: 'https://h/', every: 10ms}", 1, "wrong-duration", "1s to 1d"),
        ("actions: {Restart: [a]}", 1, "wrong-key", "lower-case"),
        ("actions: {a: []}", 1, "wrong-value", "the command and its arguments"),
        ("actions: {a: ' '}", 1, "wrong-value", "no command"),
        ("actions: {a: {run: hunter2, umask: 27}}", 1, "wrong-type", "three octal digits"),
        ("actions: {a: {run: hunter2, umask: '888'}}", 1, "wrong-value", "three octal digits"),
        ("actions: {a: {run: hunter2, timeout: 2d}}", 1, "wrong-duration", "1ms to 1d"),
        ("actions: {a: {exec: hunter2}}", 1, "unknown-key", "did you mean run?"),
        ("actions: {a: {run: x, environment: none}}", 1, "wrong-value", "inherit, clean"),
        ("actions: {a: 5}", 1, "wrong-type", "a list of arguments, a line for the shell"),
    ],
)
def test_what_is_wrong_with_channels_routes_and_commands_is_told(
    tmp_path: Path, text: str, line: int, code: str, said: str
) -> None:
    [finding] = findings(tmp_path, text)
    assert (finding.line, finding.code) == (line, code)
    assert said in f"{finding.message}\n{finding.expected}\n{finding.hint}"


def test_a_channel_says_when_how_often_and_in_which_form(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    text = """
group_by: host
channels:
  ops:
    urls: ["webhooks://h/x"]
    min_severity: warning
    quiet_hours: {days: "sat-sun, mon", hours: "22:00-07:00", timezone: Europe/Berlin, but: critical}
    format: markdown
    templates: {title: "{{ name }} on {{ host }}", body: plain}
    rate: 10 / m
    group_by: [rule, "label:team", rule]
    group_interval: 5m
    secret: file:key
  chat: {urls: ["json://h"]}
"""
    read = load(tmp_path, text)
    ops = read.channels["ops"]
    assert ops.quiet_hours == QuietHours(
        schedule=Schedule(days=frozenset({0, 5, 6}), hours=((22 * 3600.0, 7 * 3600.0),), timezone="Europe/Berlin"),
        but=frozenset({Severity.CRITICAL}),
    )
    assert ops.rate == Rate(messages=10, per=60.0)
    assert (ops.min_severity, ops.format, ops.secret) == (Severity.WARNING, Format.MARKDOWN, "hunter2")
    assert (ops.group_by, ops.group_interval) == (("rule", "label:team"), 300.0)
    assert ops.templates == {"title": "{{ name }} on {{ host }}", "body": "plain"}
    assert (read.channels["chat"].group_by, read.channels["chat"].group_interval) == (("host",), 30.0)
    assert "hunter2" not in repr(read)


def test_who_hears_of_what_nobody_was_named_for(tmp_path: Path) -> None:
    text = """
channels: {ops: {urls: ["json://h"]}, chat: {urls: ["json://i"]}}
routes:
  - {match: {severity: critical, rule: "disk-*", host: "db*", labels: {team: "s*"}}, channels: [ops, chat, ops]}
  - {match: {severity: [info, warning]}, channels: [chat]}
  - channels: [ops]
host_down: {after: 2m, severity: warning, action: [ops]}
on_zookeeper_lost: {channels: [ops], after: 5s}
heartbeat: {url: "https://hc.example.org/${PASSWORD}", every: 90s}
"""
    read = load(tmp_path, text)
    assert read.routes == (
        Route(
            channels=("ops", "chat"),
            rule="disk-*",
            host="db*",
            severities=frozenset({Severity.CRITICAL}),
            labels={"team": "s*"},
        ),
        Route(channels=("chat",), severities=frozenset({Severity.INFO, Severity.WARNING})),
        Route(channels=("ops",)),
    )
    assert read.host_down == HostDown(after=120.0, severity=Severity.WARNING, actions=(Notify(channel="ops"),))
    assert read.on_zookeeper_lost == ZookeeperLost(channels=("ops",), after=5.0)
    assert read.heartbeat == Heartbeat(url="https://hc.example.org/hunter2", every=90.0)
    assert "hunter2" not in repr(read)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("", HostDown()), ("host_down: true", HostDown()), ("host_down: {}", HostDown()), ("host_down: false", None)],
)
def test_host_down_is_there_unless_it_is_switched_off(tmp_path: Path, written: str, expected: HostDown | None) -> None:
    assert load(tmp_path, f"host: web1\n{written}").host_down == expected


def test_a_host_offers_commands(tmp_path: Path) -> None:
    text = """
actions:
  restart-app: [systemctl, restart, app]
  tidy: 'rm -rf "${TMP}"/app-*'
  full: {run: [./deploy], timeout: 1m, user: "${WHO}", cwd: scripts, umask: 027, environment: clean}
shell_actions: false
"""
    read = load(tmp_path, text, environ={"WHO": "app"})
    assert read.actions == {
        "restart-app": Run(command=("systemctl", "restart", "app")),
        "tidy": Run(command='rm -rf "${TMP}"/app-*'),
        "full": Run(
            command=("./deploy",),
            timeout=60.0,
            user="app",
            cwd=str(tmp_path / "scripts"),
            umask=0o027,
            is_clean=True,
        ),
    }
    assert not read.may_run


def test_rules_can_come_through_zookeeper(tmp_path: Path) -> None:
    text = "rules: zookeeper\npublished_rules: {shell: true}\n"
    read = load(tmp_path, text)
    assert read.published_rules == PublishedRules(is_followed=True, may_run=True)
    assert read.rules == ()
    named = load(tmp_path, text, Flags(rules=(Path("a.yaml"),)))
    assert not named.published_rules.is_followed
    assert named.rules == (Path("a.yaml"),)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (
            OPS + "routes: [{match: {severity: info}, channels: [ops]}]",
            "mute-channel",
            "the channel ops hears nothing of this: info is below its min_severity warning",
        ),
        (OPS + "host_down: {severity: info, action: ops}", "mute-channel", "below its min_severity warning"),
        ("channels:\n  ops: {urls: ['json://h'], secret: hunter2}", "idle-secret", "signs nothing"),
        (channel("quiet_hours: {hours: 00:00-24:00, but: critical}"), "always-quiet", "never end"),
        (channel("quiet_hours: {days: mon-sun}"), "always-quiet", "never end"),
    ],
)
def test_what_hardly_was_meant_is_advice(tmp_path: Path, text: str, code: str, said: str) -> None:
    read, [finding] = config.read(text, tmp_path / "zkalert.yaml", Flags(), {})
    assert read is not None
    assert (finding.line, finding.code, finding.level) == (2, code, Level.ADVICE)
    assert said in finding.message
    assert "hunter2" not in repr(finding)


@pytest.mark.parametrize(
    "text",
    [
        OPS + "routes: [{match: {severity: [info, critical]}, channels: [ops]}]",
        OPS + "host_down: {action: ops}",
        channel("quiet_hours: {hours: '00:00-24:00', but: [info, warning, critical]}"),
        channel("quiet_hours: {days: mon-sun, hours: '22:00-06:00'}, secret: x"),
    ],
)
def test_what_may_well_be_meant_is_no_advice(tmp_path: Path, text: str) -> None:
    assert config.read(text, tmp_path / "zkalert.yaml", Flags(), {})[1] == ()


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
