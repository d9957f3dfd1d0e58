"""Every znode path and payload: the one place that builds, parses, encodes and decodes them."""

from zkalert.tree.codec import MAX_PAYLOAD, MAX_TEXT
from zkalert.tree.facts import MAX_COMMENT, decode_ack, decode_silence, encode_ack, encode_silence
from zkalert.tree.paths import MAX_NAME, Tree, escape, series_name, unescape
from zkalert.tree.payloads import (
    LAYOUT_VERSION,
    MAX_INSTANCES,
    decode_alive,
    decode_engine,
    decode_host,
    decode_layout,
    decode_sample,
    decode_seen,
    encode_alive,
    encode_engine,
    encode_host,
    encode_layout,
    encode_sample,
    encode_seen,
)
from zkalert.tree.records import decode_alert, decode_entry, encode_alert, encode_entry

__all__ = [
    "LAYOUT_VERSION",
    "MAX_COMMENT",
    "MAX_INSTANCES",
    "MAX_NAME",
    "MAX_PAYLOAD",
    "MAX_TEXT",
    "Tree",
    "decode_ack",
    "decode_alert",
    "decode_alive",
    "decode_engine",
    "decode_entry",
    "decode_host",
    "decode_layout",
    "decode_sample",
    "decode_seen",
    "decode_silence",
    "encode_ack",
    "encode_alert",
    "encode_alive",
    "encode_engine",
    "encode_entry",
    "encode_host",
    "encode_layout",
    "encode_sample",
    "encode_seen",
    "encode_silence",
    "escape",
    "series_name",
    "unescape",
]
