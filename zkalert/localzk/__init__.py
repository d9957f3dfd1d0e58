"""A real ZooKeeper as child processes of ours, on loopback: for `zkalert up`, the demo and the tests.

Comes in: a folder, and a ZooKeeper that this machine has. Goes out: a server, alone or as an ensemble, that lives no
longer than the process that started it, and its address. Nothing here knows what the server is used for.
"""

from zkalert.localzk.ensemble import LocalEnsemble
from zkalert.localzk.install import Installation, find_zookeeper
from zkalert.localzk.password import local_password
from zkalert.localzk.server import LocalServer, running_hosts

__all__ = [
    "Installation",
    "LocalEnsemble",
    "LocalServer",
    "find_zookeeper",
    "local_password",
    "running_hosts",
]
