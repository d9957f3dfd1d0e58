"""What becomes of effects, as pure functions: who hears of one, whether it goes out, and if not why."""

from zkalert.routing.gate import Decision, Gate
from zkalert.routing.targets import (
    DEFAULT_CHANNEL,
    channel_targets,
    effect_targets,
    masked,
    run_target,
    split_recipients,
    targets,
    url_targets,
)

__all__ = [
    "DEFAULT_CHANNEL",
    "Decision",
    "Gate",
    "channel_targets",
    "effect_targets",
    "masked",
    "run_target",
    "split_recipients",
    "targets",
    "url_targets",
]
