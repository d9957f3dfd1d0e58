"""YAML text becomes a document with positions, judged by a JSON Schema: for rules and configuration alike.

Comes in: text, and which kind of document it should be. Goes out: a document, or findings, all at once. It knows
nothing of metrics, channels or files beyond the schemas and packs that ship with it; what a document means is its
reader's business.
"""

from __future__ import annotations

from zkalert.documents.judging import check, judge, show
from zkalert.documents.masking import urls as without_urls
from zkalert.documents.packs import Pack, PackError, RuleSource, find_pack, rule_source, shipped_packs
from zkalert.documents.reading import MAX_BYTES, Document, parse, paused_gc
from zkalert.documents.shipped import schema_bytes, shipped

__all__ = [
    "MAX_BYTES",
    "Document",
    "Pack",
    "PackError",
    "RuleSource",
    "check",
    "find_pack",
    "judge",
    "parse",
    "paused_gc",
    "rule_source",
    "schema_bytes",
    "shipped",
    "shipped_packs",
    "show",
    "without_urls",
]
