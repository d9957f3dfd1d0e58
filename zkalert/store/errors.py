"""How a write can fail: both end what the writer believed."""

from __future__ import annotations


class NotOwner(Exception):  # noqa: N818
    """The fence is gone: somebody else may own what was ours."""


class OutOfStep(Exception):  # noqa: N818
    """What stands in the tree is not what we wrote last: read it back before anything else."""
