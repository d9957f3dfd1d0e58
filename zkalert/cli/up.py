"""`zkalert up`: a local ZooKeeper if none is configured, a sampler, an engine and a live table, in one command."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import click

from zkalert import agent, clock
from zkalert.cli import common, local, serving
from zkalert.config import Config, zookeeper_of
from zkalert.engine import Engine, EngineSettings, Listener
from zkalert.localzk import LocalServer, find_zookeeper
from zkalert.model import ServerUnavailable, ZkalertError, ZookeeperSettings

log = logging.getLogger("zkalert.up")


@click.command()
@common.options(rules=True, host=True)
@click.option("--no-ui", is_flag=True, help="Log lines instead of the live table.")
def up(options: common.Options, no_ui: bool) -> None:
    """Run everything on this machine: ZooKeeper, sampler, engine, and a table of what goes on.

    Without configured ZooKeeper hosts it starts a local server, and stops it at the end. Without rules it takes
    the packs host and zookeeper. Ctrl-C ends it.
    """
    config = options.load()
    # Bad rules are told before anything starts; published ones are not known yet.
    prepared = None if config.published_rules.is_followed else _settings(config)
    with contextlib.ExitStack() as stack:
        zookeeper = config.zookeeper or stack.enter_context(_local_server(config))
        config = replace(config, zookeeper=zookeeper)

        def load() -> Config:
            return replace(options.load(), zookeeper=zookeeper)

        if prepared is None:
            _work(config, serving.Published(config, load), no_ui=no_ui)
        else:
            _work(config, serving.Files(replace(prepared, zookeeper=zookeeper), load, _settings), no_ui=no_ui)
    serving.leave(0)


def _work(config: Config, source: serving.Files | serving.Published, *, no_ui: bool) -> None:
    """Sampler and engine until a signal comes; `source` is where the engine has its rules from."""
    from rich.console import Console  # noqa: PLC0415 - with --no-ui in a log file nobody needs it

    from zkalert.cli import live  # noqa: PLC0415

    console = Console()
    has_table = not no_ui and console.is_terminal and not console.is_dumb_terminal

    show = live.SHOWN if has_table else frozenset()
    hosts = zookeeper_of(config).hosts

    with contextlib.ExitStack() as stack:
        listener = Listener()
        if has_table:
            view = live.LiveView(f"{config.host} on {hosts}", console)
            view.start()
            stack.callback(view.stop)
            _log_above(live.LogHandler(console))
            listener = view

        def make(settings: EngineSettings) -> Engine:
            return Engine(replace(settings, show=show), listener)

        stop = threading.Event()
        errors: list[ZkalertError] = []

        def stop_all() -> None:
            stop.set()
            source.stop()

        def sample() -> None:
            try:
                agent.run(config, stop)
            except ZkalertError as error:
                errors.append(error)
            except Exception:
                log.exception("the sampler ended")
                errors.append(ZkalertError("the sampler ended by an error of zkalert's own; the log tells it"))
            finally:
                stop_all()

        serving.on_stop_signals(stop_all)
        sampler = threading.Thread(target=sample, name="zkalert-agent", daemon=True)
        sampler.start()
        log.info("watching %s", hosts)
        try:
            source.run(make)
        finally:
            stop.set()
            sampler.join(1.5)
    if errors:
        raise errors[0]


def _settings(config: Config) -> EngineSettings:
    """What the engine works with; without rules of the user's own, the usual packs."""
    not_yet = ZookeeperSettings(hosts="")
    return serving.engine_settings(config, config.zookeeper or not_yet, config.rules or local.USUAL)


def _log_above(handler: logging.Handler) -> None:
    root = logging.getLogger()
    for present in root.handlers:
        handler.setFormatter(present.formatter)
    root.handlers[:] = [handler]


@contextlib.contextmanager
def _local_server(config: Config) -> Iterator[ZookeeperSettings]:
    """A server of our own for as long as it is needed, with its data below the state directory."""
    find_zookeeper(os.environ)  # say at once what is missing
    folder = local.folder(config.state_dir)
    try:
        zookeeper = local.settings("", config.state_dir)
        server = LocalServer(folder)
        server.start()
    except OSError as error:
        raise ZkalertError(
            f"local files cannot be kept in {config.state_dir} ({error.strerror or error}); "
            "choose another folder with --state-dir"
        ) from error
    log.info("ZooKeeper serves at %s, its data is in %s", server.hosts, folder)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(server, stop), name="zkalert-zookeeper", daemon=True)
    keeper.start()
    try:
        yield replace(zookeeper, hosts=server.hosts)
    finally:
        stop.set()
        keeper.join(1.0)
        server.stop()


def _keep(server: LocalServer, stop: threading.Event) -> None:
    """Start our own server again when it has ended: nobody else will."""
    while not clock.wait(stop, 1.0):
        if server.is_running:
            continue
        log.error("the local ZooKeeper has ended; starting it again, its log is %s", server.log_path)
        try:
            server.start()
        except (ServerUnavailable, OSError) as error:
            log.error("the local ZooKeeper does not start: %s", error)
            clock.wait(stop, 10.0)
