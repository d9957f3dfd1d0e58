"""What becomes of effects, as pure functions: who hears of one, whether it goes out, and if not why."""

from zkalert.routing.batches import Batches
from zkalert.routing.gate import Decision, Gate
from zkalert.routing.items import Dropped, Item, Stage
from zkalert.routing.pace import Pace, pace_of
from zkalert.routing.targets import (
    DEFAULT_CHANNEL,
    channel_targets,
    effect_targets,
    end_targets,
    heard_of,
    masked,
    run_target,
    split_recipients,
    targets,
    too_mild,
    url_targets,
)

__all__ = [
    "DEFAULT_CHANNEL",
    "Batches",
    "Decision",
    "Dropped",
    "Gate",
    "Item",
    "Pace",
    "Stage",
    "channel_targets",
    "effect_targets",
    "end_targets",
    "heard_of",
    "masked",
    "pace_of",
    "run_target",
    "split_recipients",
    "targets",
    "too_mild",
    "url_targets",
]
