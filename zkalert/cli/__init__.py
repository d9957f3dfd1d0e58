"""The command `zkalert`: finds the subcommand that was asked for, runs it, and turns what went wrong into a message.

Comes in: arguments. Goes out: an exit code. A subcommand is imported when it is used, so that none pays for another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click

from zkalert import __version__
from zkalert.model import DocumentError, ZkalertError

EXIT_OK = 0
EXIT_FINDINGS = 1
"""The command worked, and found something wrong with what it was given; or it could not do what it should."""
EXIT_USAGE = 2
"""The command was called the wrong way."""
EXIT_INTERRUPTED = 130
"""Stopped from the keyboard, by the shells' custom of 128 and the signal's number."""


class Entry(NamedTuple):
    """Where a subcommand lives (`module:attribute`), and its line in `zkalert --help`."""

    where: str
    help: str


COMMANDS = {
    "up": Entry("zkalert.cli.up:up", "Run everything on this machine, a local ZooKeeper included."),
    "sampler": Entry("zkalert.cli.sampler:sampler", "Publish this host's metrics to ZooKeeper."),
    "engine": Entry("zkalert.cli.engine:engine", "Evaluate rules and send alerts."),
    "validate": Entry("zkalert.cli.validate:validate", "Check rule files and the configuration."),
    "test": Entry("zkalert.cli.test:test", "Run unit tests of rules."),
    "backtest": Entry("zkalert.cli.backtest:backtest", "Play the recorded past to rules."),
    "cost": Entry("zkalert.cli.cost:cost", "Predict what rules and hosts cost ZooKeeper."),
    "packs": Entry("zkalert.cli.packs:packs", "List the rule packs that come with zkalert, or print one."),
    "rules": Entry("zkalert.cli.rules:rules", "Publish rules in ZooKeeper, for all engines."),
    "explain": Entry("zkalert.cli.explain:explain", "Say how a rule stands, and why nobody was told."),
    "alerts": Entry("zkalert.cli.alerts:alerts", "Show what is pending or firing, and what was not delivered."),
    "hosts": Entry("zkalert.cli.hosts:hosts", "Show who publishes, and forget who will not any more."),
    "engines": Entry("zkalert.cli.engines:engines", "Show which engine evaluates, and which wait."),
    "drill": Entry("zkalert.cli.drill:drill", "Send what a rule would, as a marked drill."),
    "silence": Entry("zkalert.cli.silence:silence", "Keep messages of some alerts quiet for a while."),
    "hold": Entry("zkalert.cli.hold:hold", "Keep messages of some alerts quiet while a command runs."),
    "ack": Entry("zkalert.cli.ack:ack", "Say that somebody has seen an alert."),
    "schema": Entry("zkalert.cli.schema:schema", "Print a JSON Schema, for editors."),
    "metrics": Entry("zkalert.cli.metrics:metrics", "List all metrics, and what hosts, servers and znodes say."),
    "put": Entry("zkalert.cli.put:put", "Publish a metric of your own."),
    "history": Entry("zkalert.cli.history:history", "Show what this host's metrics were."),
    "log": Entry("zkalert.cli.log:log", "Show what an engine decided, sent and was told."),
    "notify": Entry("zkalert.cli.notify:notify", "Send a test message to a channel."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.where.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from zkalert.metrics import nearest  # noqa: PLC0415 - only a slip needs it

            hint = nearest(name, COMMANDS)
            ctx.fail(f'no command "{name}"' + (f"; did you mean {hint}?" if hint else ""))
        return super().resolve_command(ctx, args)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zkalert", message="%(prog)s %(version)s")
def cli() -> None:
    """Rule-engine alerting on Apache ZooKeeper."""


def run(args: Sequence[str] | None = None) -> int:  # noqa: PLR0911 - one for each kind of error
    """Run one command and return its exit code; the one place where errors become messages.

    `args` without the program's name; None takes them from the command line.
    """
    try:
        result: Any = cli.main(args=None if args is None else list(args), prog_name="zkalert", standalone_mode=False)
        sys.stdout.flush()
    except DocumentError as error:
        from zkalert.cli.findings import show  # noqa: PLC0415 - most runs have nothing to show

        show(error.findings, sys.stderr)
        return _fail(f"{error.findings[0].file} cannot be used as it is", error.exit_code)
    except ZkalertError as error:
        return _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "zkalert"
        return _fail(f"{error.format_message()}\nTry `{command} --help`.", EXIT_USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does. Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FINDINGS
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _fail(f"{name}{error.strerror or error}", EXIT_FINDINGS)
    return result if isinstance(result, int) else EXIT_OK


def _fail(message: str, code: int) -> int:
    """Tell what went wrong; a name in it must not drive the terminal."""
    from zkalert.cli.logs import CONTROL  # noqa: PLC0415 - most runs have nothing to tell

    text = "\n".join(line.translate(CONTROL) for line in message.split("\n"))
    click.echo(f"zkalert: error: {text}", err=True)
    return code


def main() -> NoReturn:
    """The console script."""
    sys.exit(run())
