"""YAML text -> values with positions.

Composed by PyYAML's C parser, but resolved here: strings, JSON numbers, true, false, null and nothing else. (PyYAML
speaks YAML 1.1, where `on` is true, `1:30` is ninety and `012` is ten.) Whatever the text is, the work is bounded.
"""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, TypeAlias

from yaml.cyaml import CParser  # type: ignore[attr-defined] # the stubs leave it out
from yaml.error import MarkedYAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from zkalert.documents import masking, plain
from zkalert.documents.plain import LITERALS, MAX_DEPTH, MAX_NODES, MERGE, NO_TEXTS, NUMBER
from zkalert.model import Finding, Level

MAX_BYTES = 16 * 2**20
MAX_FINDINGS = 1000
_MAX_LINE = 2000

Path: TypeAlias = Sequence[str | int]
"""Keys and indexes from the top of a document, as JSON Schema counts them."""

_MAX_WORDS = 2000
_NOT_IN_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
# All but "\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff", which takes four milliseconds to compile.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_NEEDS_QUOTES = re.compile(r"""^[\s-]*([\w-]+):\s+((?:[>|!*&%@`]|\{\{).*?)\s*(?:\s\#.*)?$""")

_LEFT_OUT = re.compile(r"""\b(hosts|instances):\s*(?:\[[^!]*)?(!)([^\s,\]}"']+)""")

# What a node's tag is after composition; one that was written in the text is a str.
_Tag = Enum("_Tag", ["TEXT", "NUMERAL", "LITERAL", "SEQUENCE", "MAPPING"])
_TEXT, _NUMERAL, _LITERAL, _SEQUENCE, _MAPPING = _Tag


def _one_line(words: str) -> str:
    """What a finding says may quote the text, which may hold anything."""
    line = _NOT_IN_LINE.sub(" ", words) if not words.isprintable() else words
    return line if len(line) <= _MAX_WORDS else line[: _MAX_WORDS - 1] + "…"


class Document:
    """Values, and where each of them stands; `kind` names the schema it is judged by."""

    def __init__(self, file: str, kind: str, text: str) -> None:
        self.file = file
        self.kind = kind
        self.data: Any = None
        self._text = text
        self._root: Node | None = None
        self._plain: plain.Plain | None = None
        self._lines: list[str] | None = None
        self._masks: masking.Masks | None = None

    def finding(  # noqa: PLR0913 - the fields of one value
        self,
        path: Path,
        code: str,
        message: str,
        *,
        expected: str = "",
        hint: str = "",
        level: Level = Level.ERROR,
        at_key: bool = False,
    ) -> Finding:
        """A finding at the value that `path` leads to, or at its key; where it leads nowhere, as near as it gets."""
        key, value = self._find(path)
        node = key if at_key and key is not None else value
        line, column = (node.start_mark.line, node.start_mark.column) if node is not None else (0, 0)
        return self._finding(line, column, code, message, expected=expected, hint=hint, level=level)

    def line(self, path: Path) -> int:
        """The line (from 1) of the value that `path` leads to."""
        if self._plain is not None and len(path) == 2:
            lines, index = self._plain.lines.get(path[0], ()), path[1]
            if isinstance(index, int) and index < len(lines):
                return lines[index]
        node = self._find(path)[1]
        return 1 if node is None else node.start_mark.line + 1

    def written(self, path: Path) -> tuple[str, str]:
        """A scalar as it was written: its text, and its style (empty for plain, else a quote, `|` or `>`)."""
        node = self._find(path)[1]
        return (node.value, node.style or "") if isinstance(node, ScalarNode) else ("", "")

    def _find(self, path: Path) -> tuple[Node | None, Node | None]:
        key: Node | None = None
        node = self._composed()
        for part in path:
            if isinstance(node, MappingNode):
                found = next((pair for pair in node.value if pair[0].value == part), None)
                if found is None:
                    break
                key, node = found
            elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
                key, node = None, node.value[part]
            else:
                break
        return key, node

    def _composed(self) -> Node | None:
        """The nodes of the text, None where there are none; of a plain text they are made when they are asked for."""
        if self._plain is not None and self._root is None:
            with paused_gc():
                self._root = _Composer(self._text).get_single_node()
        return self._root

    def _finding(  # noqa: PLR0913 - the fields of one value
        self,
        line: int,
        column: int,
        code: str,
        message: str,
        *,
        expected: str = "",
        hint: str = "",
        level: Level = Level.ERROR,
    ) -> Finding:
        return Finding(
            file=self.file,
            line=line + 1,
            column=column + 1,
            code=code,
            message=_one_line(message),
            expected=_one_line(expected),
            hint=_one_line(hint),
            text=self._source(line),
            level=level,
        )

    def _source(self, line: int) -> str:
        """A line of the text as it may be shown: without secrets, and not where it is beyond reading."""
        if self._lines is None:
            self._lines = _LINE_BREAK.split(self._text)
        if line >= len(self._lines) or len(self._lines[line]) > _MAX_LINE:
            return ""
        if self._masks is None:
            self._masks = masking.Masks(self.kind, self._composed())
        return self._masks.apply(line, self._lines[line])


def parse(text: str | bytes, file: str, kind: str) -> tuple[Document, tuple[Finding, ...]]:
    """The document in `text`, named `file` to people, to be judged by the schema `kind`.

    With findings of level error its data is None, or only what could be made sense of. Never raises for what stands
    in the text.
    """
    decoded, finding = _decode(text, file)
    if finding is not None:
        return Document(file, kind, ""), (finding,)
    document = Document(file, kind, decoded)
    unprintable = _UNPRINTABLE.search(decoded)
    if unprintable:
        line, column = _position(decoded, unprintable.start())
        return document, (
            document._finding(  # noqa: SLF001 - a document is made here
                line,
                column,
                "control-character",
                f"the character U+{ord(unprintable[0]):04X} has no place in YAML",
                expected="printable text",
            ),
        )
    with paused_gc():
        document._plain = plain.read(decoded)  # noqa: SLF001
    if document._plain is not None:  # noqa: SLF001
        document.data = document._plain.data  # noqa: SLF001
        return document, ()
    try:
        with paused_gc():
            document._root = _Composer(decoded).get_single_node()  # noqa: SLF001
            reader = _Reader(document)
            if document._root is not None:  # noqa: SLF001
                document.data = reader.value(document._root, 1)  # noqa: SLF001
    except MarkedYAMLError as error:
        return document, (_syntax(document, error),)
    except _TooMuch as error:
        return document, (document._finding(error.line, error.column, error.code, str(error)),)  # noqa: SLF001
    return document, tuple(reader.findings)


@contextlib.contextmanager
def paused_gc() -> Iterator[None]:
    """Without the garbage collector: it takes three quarters of the time that a large document needs."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _decode(text: str | bytes, file: str) -> tuple[str, Finding | None]:
    problem = ("", "", "")
    place = (0, 0)
    if len(text) > MAX_BYTES:
        problem = ("too-large", f"more than {MAX_BYTES // 2**20} MiB", f"at most {MAX_BYTES // 2**20} MiB of YAML")
    elif isinstance(text, bytes):
        try:
            return text.decode("utf-8-sig"), None
        except UnicodeDecodeError as error:
            problem = ("not-utf8", f"byte 0x{text[error.start]:02x} is no UTF-8", "YAML in UTF-8")
            place = _position(text[: error.start].decode(), error.start)
    else:
        return text.removeprefix("\ufeff"), None
    code, message, expected = problem
    return "", Finding(file=file, line=place[0] + 1, column=place[1] + 1, code=code, message=message, expected=expected)


def _position(text: str, at: int) -> tuple[int, int]:
    """Line and column, both from 0, of an index into the text."""
    before = _LINE_BREAK.split(text[:at])
    return len(before) - 1, len(before[-1])


class _TooMuch(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, code: str, message: str, node: Node | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.line = node.start_mark.line if node else 0
        self.column = node.start_mark.column if node else 0


class _Composer(CParser):
    """Text -> nodes whose tags are ours.

    The parser composes recursively in C, where a deep document would overflow the stack: it calls
    `descend_resolver` before it goes deeper, so that is where it is stopped.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.descend_resolver, self.ascend_resolver = _bounds()

    def resolve(self, kind: type[Node], value: str, implicit: tuple[bool, bool]) -> _Tag:
        if kind is ScalarNode:
            if not implicit[0] or value[:1] not in NO_TEXTS:  # (plain, quoted)
                return _TEXT
            if value in LITERALS:
                return _LITERAL
            return _NUMERAL if NUMBER.fullmatch(value) else _TEXT
        return _MAPPING if kind is MappingNode else _SEQUENCE


def _bounds() -> tuple[Callable[[Node | None, object], None], Callable[[], object]]:
    """What is called before each value and behind it. With methods, reading would take a fifth longer."""
    left = MAX_NODES
    around: list[None] = []
    enter = around.append

    def descend(parent: Node | None, _index: object) -> None:
        nonlocal left
        left -= 1
        enter(None)
        if left < 0:
            raise _TooMuch("too-many-nodes", f"more than {MAX_NODES:,} values", parent)
        if len(around) > MAX_DEPTH:
            raise _TooMuch("too-deep", f"nested more than {MAX_DEPTH} deep", parent)

    return descend, around.pop


class _Reader:
    """Nodes -> values. Aliases are followed, so what is counted here is the document after their expansion."""

    def __init__(self, document: Document) -> None:
        self.findings: list[Finding] = []
        self._document = document
        self._left = MAX_NODES
        self._key = ""  # of the mapping that is being read: what a list in it is called

    def value(self, node: Node, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _TooMuch("too-many-nodes", f"more than {MAX_NODES:,} values, aliases followed", node)
        if depth > MAX_DEPTH:
            raise _TooMuch("too-deep", f"nested more than {MAX_DEPTH} deep, aliases followed", node)
        tag: object = node.tag
        if tag is _TEXT:
            return self._text(node)
        if isinstance(tag, str):
            hint = self._without_tag(tag[:40]) if tag.startswith("!") else ""
            self._add(node, "tag", "tags (!) are not supported", expected="a value without a tag", hint=hint)
        if isinstance(node, MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        if tag is _NUMERAL:
            return self._number(node)
        return LITERALS[node.value] if tag is _LITERAL else self._text(node)

    def _text(self, node: Node) -> str:
        text: str = node.value
        if "\0" in text:
            self._add(node, "control-character", "a NUL character has no place in a text", expected="printable text")
        return text

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        firsts: dict[str, Node] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._add(key_node, "wrong-key", "a key is a list or a mapping", expected="a text as the key")
                continue
            key = key_node.value
            if key in firsts:
                first = firsts[key].start_mark.line + 1
                named = masking.name(key)
                self._add(key_node, "duplicate-key", f"{named} stands here twice", hint=f"the first is in line {first}")
            elif key == MERGE and not key_node.style:
                self._add(key_node, "merge-key", "merge keys (<<) are not supported", hint="write the keys out")
                continue
            else:
                firsts[key] = key_node
            self._key = key
            mapping[key] = self.value(value_node, depth + 1)
        return mapping

    def _without_tag(self, tag: str) -> str:
        """What to write instead of a text that begins with an exclamation mark."""
        if self._document.kind == "rules" and self._key in ("hosts", "instances"):
            return f'to leave some out: not_{self._key}: ["{tag[1:]}"]'
        return f'quote it: "{tag}"'

    def _number(self, node: Node) -> float:
        match = NUMBER.fullmatch(node.value)
        number = None if match is None else plain.number(match)
        if number is not None:
            return number
        self._add(node, "not-finite", "a number too large to be held", expected="a number below 1e308")
        return 0

    def _add(self, node: Node, code: str, message: str, *, expected: str = "", hint: str = "") -> None:
        if len(self.findings) < MAX_FINDINGS:
            mark = node.start_mark
            found = self._document._finding(mark.line, mark.column, code, message, expected=expected, hint=hint)  # noqa: SLF001
            self.findings.append(found)


_CAUSES = (
    # words of the parser, our code, what is wrong, what should stand there, whether the slip is where it began
    ("nesting depth", "too-deep", f"nested more than {MAX_DEPTH} deep", "", False),
    ("another document", "many-documents", "a second document begins here", "one document in a file", False),
    ("cannot start any token", "yaml-syntax", "a character that cannot begin a value", "a value in quotes", False),
    ("mapping values are not", "yaml-syntax", 'a second ": " in one value', "texts with a colon in quotes", False),
    ("undefined alias", "yaml-syntax", "an alias (*) without its anchor (&)", "texts with * in quotes", False),
    (
        "alphabetic or numeric",
        "yaml-syntax",
        "an alias (*) or anchor (&) without a name",
        "such texts in quotes",
        False,
    ),
    ("comment or line break", "yaml-syntax", "more text behind > or |", "such texts in quotes", False),
    ("expected whitespace or line", "yaml-syntax", "a tag (!)", "texts that begin with ! in quotes", True),
    ("undefined tag handle", "yaml-syntax", "an unknown tag (!)", "texts that begin with ! in quotes", False),
    ("duplicate anchor", "yaml-syntax", "a second anchor (&) of this name", "each anchor once", False),
    ("end of stream", "yaml-syntax", "a quoted text without its end", "a closing quote", True),
    ("expected ',' or", "yaml-syntax", "a list or mapping without its end", "a comma or the closing bracket", True),
    ("'-' indicator", "yaml-syntax", "an indentation that fits nothing above", "keys and items in one column", False),
    ("node content", "yaml-syntax", "no value where one was due", "a value, or the closing bracket", False),
    ("block end", "yaml-syntax", "an indentation that fits nothing above", "keys and items in one column", False),
    ("expected key", "yaml-syntax", "no key where one was due", "another key, or less indentation", False),
    ("expected ':'", "yaml-syntax", "a key without its colon", 'a colon and a space: "key: value"', True),
)


def _syntax(document: Document, error: MarkedYAMLError) -> Finding:
    """The parser's complaint in plain words, with a cure where the line shows a well-known slip."""
    problem = error.problem or ""
    _, code, message, expected, is_earlier = next(
        (cause for cause in _CAUSES if cause[0] in problem),
        ("", "yaml-syntax", f"not YAML: {problem}", "YAML", False),
    )
    marks = (error.context_mark, error.problem_mark) if is_earlier else (error.problem_mark, error.context_mark)
    mark = marks[0] or marks[1]
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = _LINE_BREAK.split(document._text)  # noqa: SLF001
    hint = ""
    left_out = _LEFT_OUT.search(lines[line]) if document.kind == "rules" and line < len(lines) else None
    if left_out:
        hint = f'to leave some out: not_{left_out[1]}: ["{masking.urls(left_out[3][:60])}"]'
        column = left_out.start(2)
    elif document.kind == "rules":
        # The parser often complains a line or more after the slip.
        for near in (line, line - 1, *(mark.line for mark in marks if mark)):
            slip = _NEEDS_QUOTES.match(lines[near]) if 0 <= near < len(lines) else None
            if slip:
                hint = f'quote it: {slip[1]}: "{masking.urls(slip[2][:60])}"'
                line, column = near, slip.start(2)
                break
    if not hint and line < len(lines) and "\t" in lines[line][: column + 1]:
        message, expected = "a tab in the indentation", "spaces"
    return document._finding(line, column, code, message, expected=expected, hint=hint)  # noqa: SLF001
