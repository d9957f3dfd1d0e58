"""The table of metric families, and the units that thresholds are written in.

Comes in: a family's or field's name, a text such as `90%`, `2GiB`, `10MB/s`, `1h30m`. Goes out: what the table
says, a number in the metric's own unit, a text for people. Nothing here reads a metric.
"""

from zkalert.metrics.host import HOST_FAMILY
from zkalert.metrics.kinds import Family, Field, Kind, Unit
from zkalert.metrics.table import (
    FAMILIES,
    PUSHED_NAME,
    SAMPLED,
    MetricError,
    family_of,
    field_of,
    is_pushed,
    nearest,
    parse_metric,
)
from zkalert.metrics.units import (
    QuantityError,
    format_duration,
    format_limit,
    format_quantity,
    format_value,
    parse_duration,
    parse_quantity,
    quotient_unit,
    windowed_unit,
)
from zkalert.metrics.znode import (
    MOST_SEARCHED,
    OWN_ENSEMBLE,
    OWN_PREFIX,
    ZNODES,
    ZnodePattern,
    is_znode,
    parse_pattern,
    znode_labels,
)
from zkalert.metrics.zookeeper import ENGINE_FAMILY, ZOOKEEPER_FAMILY

__all__ = [
    "ENGINE_FAMILY",
    "FAMILIES",
    "HOST_FAMILY",
    "MOST_SEARCHED",
    "OWN_ENSEMBLE",
    "OWN_PREFIX",
    "PUSHED_NAME",
    "SAMPLED",
    "ZNODES",
    "ZOOKEEPER_FAMILY",
    "Family",
    "Field",
    "Kind",
    "MetricError",
    "QuantityError",
    "Unit",
    "ZnodePattern",
    "family_of",
    "field_of",
    "format_duration",
    "format_limit",
    "format_quantity",
    "format_value",
    "is_pushed",
    "is_znode",
    "nearest",
    "parse_duration",
    "parse_metric",
    "parse_pattern",
    "parse_quantity",
    "quotient_unit",
    "windowed_unit",
    "znode_labels",
]
