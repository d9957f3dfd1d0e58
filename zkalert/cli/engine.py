"""`zkalert engine`: evaluate rules against a ZooKeeper tree, and send what they say, until a signal says stop."""

from __future__ import annotations

import logging

import click

from zkalert.cli import common, serving
from zkalert.config import Config, zookeeper_of
from zkalert.engine import Engine, EngineSettings
from zkalert.model import UsageError

log = logging.getLogger("zkalert.engine")


@click.command()
@common.options(rules=True, host=True)
def engine(options: common.Options) -> None:
    """Evaluate rules and send alerts.

    A second engine on the same tree waits, and takes over when the first one ends. SIGHUP reads the rules and
    channels again; a set with errors changes nothing. With `rules: zookeeper` in zkalert.yaml the rules are those that
    `zkalert rules push` has published, from the moment that it has.
    """

    def settings(config: Config) -> EngineSettings:
        if config.published_rules.is_followed:
            raise UsageError("rules: zookeeper is new in the configuration, which takes a restart")
        if not config.rules:
            raise UsageError("no rules: name files or folders with --rules PATH, or under rules: in zkalert.yaml")
        return serving.engine_settings(config, zookeeper_of(config), config.rules)

    config = options.load()
    source: serving.Files | serving.Published
    if config.published_rules.is_followed:
        source = serving.Published(config, options.load)
    else:
        source = serving.Files(settings(config), options.load, settings)
    serving.on_stop_signals(source.stop)
    log.info("engine starts")
    source.run(Engine)
    log.info("engine stopped")
    serving.leave(0)
