"""The ZooKeeper that `zkalert up` runs on this machine, for itself and for commands that ask it something."""

from __future__ import annotations

from zkalert.config import Config
from zkalert.documents import Pack
from zkalert.localzk.reaching import folder, settings, zookeeper_of
from zkalert.metrics import OWN_ENSEMBLE, nearest
from zkalert.model import EnsembleSettings, UsageError

__all__ = ["USUAL", "ensemble_of", "ensembles_of", "folder", "settings", "zookeeper_of"]

USUAL = (Pack("host"), Pack("zookeeper"))
"""What `zkalert up` takes without rules of the user's own: whoever runs a Kafka says so."""


def ensembles_of(config: Config) -> dict[str, EnsembleSettings]:
    """All ensembles that rules may look at, the own one too. Raises UsageError where there is no own one."""
    return {OWN_ENSEMBLE: ensemble_of(config, OWN_ENSEMBLE), **config.ensembles}


def ensemble_of(config: Config, name: str) -> EnsembleSettings:
    """How one ensemble is reached, whether there are others or not. Raises UsageError for one that is not known."""
    if name == OWN_ENSEMBLE:
        return EnsembleSettings(zookeeper=zookeeper_of(config), members=config.members)
    found = config.ensembles.get(name)
    if found is None:
        known = [OWN_ENSEMBLE, *sorted(config.ensembles)]
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else "known: " + ", ".join(known)
        raise UsageError(f'no ensemble "{name}" in the configuration; {hint}')
    return found
