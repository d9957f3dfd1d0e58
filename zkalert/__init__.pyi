# The types of what `__init__.py` loads when it is asked for.

from zkalert.pushing import Pusher as Pusher
from zkalert.pushing import push as push

__version__: str
