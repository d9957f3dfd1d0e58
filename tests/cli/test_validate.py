"""`zkalert validate`, as people run it: the real command in a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from zkalert import cli
from zkalert.metrics import FAMILIES

ROOT = Path(__file__).parent.parent.parent
GOOD = "rules:\n  - {name: NAME, metric: memory_usage, comparator: '>', threshold: 90, action: ops}\n"
BAD = 'rules:\n  - name: a\n    metric: memory\n    comparator: ">"\n    threshold: 90\n'


MEMORY = 2**30
"""Of address space, in bytes: what no input may make the command exceed."""


def zkalert(*args: str | Path, cwd: Path, stdin: str | bytes = b"", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command and check what must hold whatever it was given.

    It ends within a minute and a gibibyte, without a traceback, and with no fourth exit code.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ZKALERT_")}
    done = subprocess.run(
        [sys.executable, "-m", "zkalert", *map(str, args)],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(ROOT), **environ},
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in out + err
    assert done.returncode in (0, 1, 2)
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def test_good_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(GOOD.replace("NAME", "a"))
    (tmp_path / "rules" / "b.yml").write_text(GOOD.replace("NAME", "b"))
    done = zkalert("validate", "rules", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 rules in 2 files: no errors\n", "")


def test_a_finding_has_its_place_the_line_a_caret_and_the_cure(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    done = zkalert("validate", "bad.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        'bad.yaml:3:13: error: unknown metric "memory"',
        "        metric: memory",
        "                ^",
        "  expected: one of " + ", ".join(sorted(FAMILIES)),
        "  did you mean memory_usage?",
        "1 error in 1 file",
    ]
    assert done.stderr == ""


def test_all_files_are_told_of_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(BAD.replace("name: ", "name: b-"))
    (tmp_path / "a.yaml").write_text(BAD)
    (tmp_path / "c.yaml").write_text("rules: [\n")
    (tmp_path / "d.yaml").write_text("# empty\n")
    (tmp_path / "e.yaml").write_bytes(b"\xff\xfe\x00")
    done = zkalert("validate", ".", cwd=tmp_path)
    places = re.findall(r"^(\w\.yaml):\d+:\d+: (\w+):", done.stdout, re.MULTILINE)
    assert places == [
        ("a.yaml", "error"),
        ("b.yaml", "error"),
        ("c.yaml", "error"),
        ("d.yaml", "advice"),
        ("e.yaml", "error"),
    ]
    assert done.stdout.endswith("\n4 errors, 1 advice in 5 files\n")


def test_a_name_that_stands_in_two_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("NAME", "same"))
    (tmp_path / "b.yaml").write_text(GOOD.replace("NAME", "same"))
    done = zkalert("validate", "a.yaml", "b.yaml", "a.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("b.yaml:2:12: error: a second rule named same\n")
    assert "the first is at a.yaml:2\n" in done.stdout


def test_standard_input_is_a_file_too(tmp_path: Path) -> None:
    assert zkalert("validate", "-", cwd=tmp_path, stdin=GOOD.replace("NAME", "a")).returncode == 0
    done = zkalert("validate", "-", cwd=tmp_path, stdin=BAD)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, '<stdin>:3:13: error: unknown metric "memory"')
    done = zkalert("validate", "-", cwd=tmp_path, stdin="zookeeper: {root: x}\n")
    assert done.stdout.startswith("<stdin>:1:19: error: root: does not start with /\n")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere.yaml"], "nowhere.yaml: no such file or folder"),
        ([], "nothing to check"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory"),
        (["--colour"], "No such option"),
        (["--log-level", "loud"], "loud"),
    ],
    ids=["path", "nothing", "config", "option", "choice"],
)
def test_wrong_usage_is_exit_code_2_with_the_reason_on_standard_error(
    tmp_path: Path, args: list[str], said: str
) -> None:
    done = zkalert("validate", *args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("zkalert: error: ")
    assert said in done.stderr


def test_without_a_path_the_configuration_and_its_rules_are_checked(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(GOOD.replace("NAME", "a"))
    (tmp_path / "zkalert.yaml").write_text("rules: [rules/]\nchannels: {oops: {urls: ['json://h']}}\n")
    done = zkalert("validate", cwd=tmp_path)
    assert done.stdout.startswith('rules/a.yaml:2:77: error: no channel "ops" in the configuration\n')
    assert "did you mean oops?" in done.stdout
    (tmp_path / "zkalert.yaml").write_text("rules: [rules/]\nchannels: {ops: {urls: ['json://h']}}\n")
    assert zkalert("validate", cwd=tmp_path).stdout == "1 rule in 2 files: no errors\n"


def test_a_configuration_is_checked_as_one_by_its_name_or_its_keys(tmp_path: Path) -> None:
    for name in ("zkalert.yaml", "other.yaml"):
        (tmp_path / name).write_text("host: a\nchannels: {ops: {url: 'mailto://u:hunter2@h'}}\n")
    done = zkalert("validate", "zkalert.yaml", "other.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert re.findall(r"^(\w+\.yaml:2:18): error: unknown key \"url\"", done.stdout, re.MULTILINE) == [
        "zkalert.yaml:2:18",
        "other.yaml:2:18",
    ]
    assert "hunter2" not in done.stdout


@pytest.mark.parametrize(
    "key", ["routes: []", "host_down: false", "heartbeat: {}", "actions: {}", "shell_actions: true"]
)
def test_each_key_of_a_configuration_tells_that_it_is_one(tmp_path: Path, key: str) -> None:
    (tmp_path / "other.yaml").write_text(key + "\n")
    done = zkalert("validate", "other.yaml", cwd=tmp_path)
    assert "rules:" not in done.stdout
    assert done.returncode == ("heartbeat" in key)


def test_a_channel_that_makes_a_rule_mute_is_advised_of(tmp_path: Path) -> None:
    (tmp_path / "zkalert.yaml").write_text(
        "channels: {ops: {urls: ['json://h'], min_severity: critical}}\nrules: [a.yaml]\n"
    )
    (tmp_path / "a.yaml").write_text(
        "rules:\n  - {name: a, metric: memory_usage, comparator: '>', threshold: 90, action: ops}\n"
    )
    done = zkalert("validate", cwd=tmp_path)
    assert done.returncode == 0
    assert "a.yaml:2:77: advice: the channel ops hears nothing of this" in done.stdout


def test_channels_are_checked_by_the_configuration_beside(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("NAME", "a"))
    (tmp_path / "zkalert.yaml").write_text("channels: {chat: {urls: ['json://h']}}\n")
    assert zkalert("validate", "a.yaml", cwd=tmp_path).returncode == 1
    (tmp_path / "zkalert.yaml").write_text("channels: {chat: {urls: ['${NOT_SET_HERE}']}}\n")
    done = zkalert("validate", "a.yaml", cwd=tmp_path)
    assert (done.returncode, "channels are not checked" in done.stderr) == (0, True)
    assert zkalert("validate", "a.yaml", "--config", "zkalert.yaml", cwd=tmp_path).returncode == 1


def test_what_a_file_says_cannot_drive_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m.yaml").write_text('rules: [{name: "\\e[31m", metric: "\\e[2J"}]\n')
    done = zkalert("validate", ".", cwd=tmp_path)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout


def test_a_long_line_is_cut_around_its_caret(tmp_path: Path) -> None:
    rules = ", ".join(f"{{name: r{number}, metric: nope, comparator: '>', threshold: 1}}" for number in range(15))
    (tmp_path / "a.yaml").write_text(f"rules: [{rules}]\n")
    lines = zkalert("validate", "a.yaml", cwd=tmp_path).stdout.splitlines()
    excerpts = [(text, caret) for text, caret in itertools.pairwise(lines) if caret.strip() == "^"]
    assert len(excerpts) == 15
    for text, caret in excerpts:
        assert len(text) <= 120
        assert text[caret.index("^") :].startswith("nope")


@pytest.mark.parametrize("quiet", [False, True], ids=["terminal", "NO_COLOR"])
def test_colour_is_for_terminals_that_want_it(tmp_path: Path, quiet: bool) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    leader, follower = pty.openpty()
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "NO_COLOR": "1" if quiet else ""}
    done = subprocess.run(
        [sys.executable, "-m", "zkalert", "validate", "bad.yaml"],
        cwd=tmp_path,
        env=environ,
        stdout=follower,
        check=False,
    )
    os.close(follower)
    text = os.read(leader, 65536).decode()
    os.close(leader)
    assert done.returncode == 1
    assert ("\x1b[" in text) is not quiet


def test_a_reader_that_goes_away_is_no_error_to_talk_about(tmp_path: Path) -> None:
    rules = "".join(f"  - {{name: R{number}, metric: nope}}\n" for number in range(900))
    (tmp_path / "a.yaml").write_text(f"rules:\n{rules}")
    done = subprocess.run(
        f"{sys.executable} -m zkalert validate a.yaml | head -n 1",
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


# Channels -------------------------------------------------------------------------------------------------------------

URLS = {
    "json://hooks.example.org:99999/x": "99999 is no port",
    "slak://a/b/c": 'unknown service "slak"; did you mean "slack"?',
    "slack://T1/hunter2": "not a valid slack:// URL: ",
    "https://hooks.example.org/hunter2": "not a URL of a known service",
    "mailto://u:hunter2@example.org?to=bad": "the URL has no valid recipient",
    "mailto://u:hunter2@example.org?to=a@example.org,bad": "recipient 2 of 2: the URL has no valid recipient",
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_cannot_be_sent_to_is_found_where_it_stands(tmp_path: Path, url: str) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("NAME", "a").replace("ops", f'[{{notify: "{url}"}}]'))
    (tmp_path / "c.yaml").write_text(f'channels:\n  ops:\n    urls: ["json://h", "{url}"]\n')
    done = zkalert("validate", "a.yaml", "c.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"a.yaml:2:87: error: {URLS[url]}")
    assert f"\nc.yaml:3:24: error: {URLS[url]}" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_a_url_out_of_the_environment_is_checked_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "zkalert.yaml").write_text("channels: {ops: {urls: ['${HOOK}']}}\n")
    assert zkalert("validate", cwd=tmp_path, HOOK="json://h").returncode == 0
    done = zkalert("validate", cwd=tmp_path, HOOK="slack://T1/hunter2")
    assert done.stdout.startswith("zkalert.yaml:1:25: error: not a valid slack:// URL: ")
    assert "channels: {ops: {urls: ['${HOOK}']}}" in done.stdout
    assert "hunter2" not in done.stdout


def test_good_urls_are_no_findings(tmp_path: Path) -> None:
    urls = [
        "jsons://hooks.example.org/a?+X-Token=b&:env=prod&-q=1",
        "mailto://u:p%40ss@example.org?from=a@example.org&to=b@example.org,c@example.org",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops",
    ]
    (tmp_path / "c.yaml").write_text(f"channels: {{ops: {{urls: {json.dumps(urls)}}}}}\n")
    assert zkalert("validate", "c.yaml", cwd=tmp_path).stdout == "0 rules in 1 file: no errors\n"


def test_what_another_system_may_support_is_told_beside_the_findings(tmp_path: Path) -> None:
    """macosx:// works on a Mac alone, and windows:// nowhere that zkalert runs."""
    (tmp_path / "c.yaml").write_text("channels: {desk: {urls: ['windows://']}}\n")
    done = zkalert("validate", "c.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "0 rules in 1 file: no errors\n")
    assert done.stderr == "windows:// is not supported on this system: what it needs is not installed\n"


# What it costs --------------------------------------------------------------------------------------------------------


def test_a_check_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("NAME", "a"))
    script = (
        "import sys; from zkalert import cli; code = cli.run(['validate', 'a.yaml']);"
        "heavy = {'rich', 'jinja2', 'apprise', 'kazoo', 'psutil', 'sqlite3'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy or code else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ten_thousand_rules_are_read_at_once(tmp_path: Path) -> None:
    plain = '  - name: r{}\n    metric: memory_usage\n    comparator: ">"\n    threshold: 90\n    duration: 2m\n'
    (tmp_path / "a.yaml").write_text("rules:\n" + "".join(plain.format(number) for number in range(10_000)))
    assert zkalert("validate", "a.yaml", cwd=tmp_path).stdout == "10,000 rules in 1 file: no errors\n"


# The frame of all commands --------------------------------------------------------------------------------------------


def test_help_and_version_import_no_command(tmp_path: Path) -> None:
    assert zkalert("--version", cwd=tmp_path).stdout == "zkalert 0.1.0\n"
    done = zkalert("--help", cwd=tmp_path)
    assert done.returncode == 0
    for name, entry in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.help)}$", done.stdout, re.MULTILINE)
    script = (
        "import sys; from zkalert import cli; cli.run(['--help']);"
        "sys.exit(any(name.startswith('zkalert.cli.') for name in sys.modules))"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", script], env=environ, check=False, capture_output=True).returncode == 0


def test_an_unknown_command_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    done = zkalert("valdiate", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'zkalert: error: no command "valdiate"; did you mean validate?\nTry `zkalert --help`.\n'


def test_each_command_has_the_shared_options(tmp_path: Path) -> None:
    done = zkalert("validate", "--help", cwd=tmp_path)
    for option in ("--config", "--zookeeper", "--root", "--state-dir", "--log-level", "--log-format"):
        assert option in done.stdout
