"""One URL as a channel of messages, by apprise.

A sender belongs to one worker thread: it holds one plugin of apprise and calls that directly. apprise's own pool of
threads is shared by all that sends in the process, so that a few hung receivers would keep every healthy one waiting.
Mail is composed by `mail`, cards of chat services are dressed by `chat`; all else gets words.
"""

from __future__ import annotations

import contextlib
import html
import logging
import re
import sys
import threading
import warnings
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

from zkalert import clock
from zkalert.metrics import nearest
from zkalert.model import Effect, Format, Message, MessageKind, SendResult, SendState, Target
from zkalert.render import MAX_BODY, without_mentions, written
from zkalert.senders import chat, desktop
from zkalert.senders.reasons import NO_CONNECTION, explain, scrub

_CONNECT_TIMEOUT = 5.0
_SCHEME = re.compile(r"\s*([A-Za-z0-9]{1,32})://")
_REPEAT = "(may be a repeat)"
_WITH_FIELDS = ("json", "jsons", "form", "forms", "xml", "xmls")
_MAIL = ("mailto", "mailtos")
_MARKUP = ("dbus", "glib", "gnome", "kde", "qt")
_URGENCY = {MessageKind.INFO: 0, MessageKind.WARNING: 1, MessageKind.FAILURE: 2, MessageKind.SUCCESS: 1}
_MOST_ON_DESKTOP = 1000  # bytes
# What no person reads as a chat: there `@here` calls nobody, and a program may want it as it is.
_PLAIN = frozenset({*_WITH_FIELDS, *_MAIL, *_MARKUP, "syslog", "rsyslog", "mqtt", "mqtts"})
_WEBHOOK = ("webhook", "webhooks")
_OWN = (*desktop.SCHEMES, *_WEBHOOK)
_KINDS = {
    MessageKind.INFO: "info",
    MessageKind.WARNING: "warning",
    MessageKind.FAILURE: "failure",
    MessageKind.SUCCESS: "success",
}
_heard = threading.local()
_loading = threading.Lock()


class _Service(NamedTuple):
    """A plugin of apprise ready to send, or why there is none."""

    plugin: Any
    problem: str
    schema: str = ""


class _Listener(logging.Handler):
    """Keeps what apprise says in the thread that listens: warnings, and of DEBUG the causes alone."""

    def emit(self, record: logging.LogRecord) -> None:
        lines: list[str] | None = getattr(_heard, "lines", None)
        if lines is None:
            return
        with contextlib.suppress(Exception):  # a log line that cannot be formatted must not cost the message
            said = record.getMessage()
            if record.levelno >= logging.WARNING or said.startswith("Socket Exception: "):
                lines.append(said)


# apprise tells the cause of a failure at DEBUG, and at that level prints whole URLs and payloads too. So its plugins
# get a logger that no handler of the process can be attached to, and its own stays at WARNING.
_private = logging.Logger("apprise.private", logging.DEBUG)  # noqa: LOG001 - outside the tree of loggers on purpose
_private.addHandler(_Listener())


def _apprise() -> Any:
    """The library with all its plugins, loaded on first use: that takes 0.3 s and 30 MB."""
    with _loading:
        return _load()


def preload() -> None:
    """Load apprise now, so that the first message need not wait for it."""
    _apprise()


@lru_cache(maxsize=1)
def _load() -> Any:
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logger.addHandler(_Listener())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its plugins import is old in places; that is no business of our users
        import apprise  # noqa: PLC0415 - as said above

        apprise.manager_plugins.NotificationManager().schemas()  # type: ignore[no-untyped-call]
    smtp = sys.modules.get("apprise.plugins.email.smtp")
    if smtp is not None:
        smtp.__dict__["logger"] = _private  # it knows what a mail server answered, and has no other ear for it
    return apprise


class AppriseSender:
    """Sends messages to one URL. Not for more than one thread."""

    def __init__(self, target: Target) -> None:
        if target.url is None:
            raise ValueError(f"{target.id} has no URL")
        self._url = target.url
        self._format = target.channel.format if target.channel is not None else None
        self._service: _Service | None = None

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool = False) -> SendResult:  # noqa: ARG002 - the dispatcher calls all senders alike; a URL gets words only
        """Send `message` once; never raises. `is_repeat` adds a line that says so.

        A time-out is bounded by the sockets: 5 s to connect, 4 s for each read. A receiver that drips its answer can
        hold this thread for longer; no other target waits for it.
        """
        started = clock.monotonic()
        lines: list[str] = []
        _heard.lines = lines
        try:
            if self._service is None:
                self._service = _open(self._url, lines)
            result = self._send(self._service, message, lines, is_repeat=is_repeat)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and the worker must live on
            reason = explain([*lines, f"{type(error).__name__}: {error}"], self._url)
            result = SendResult(state=reason.state, is_retryable=reason.is_retryable, detail=reason.detail)
        finally:
            _heard.lines = None
        return SendResult(
            state=result.state,
            is_retryable=result.is_retryable,
            detail=result.detail,
            seconds=clock.monotonic() - started,
        )

    def _send(self, service: _Service, message: Message, lines: list[str], *, is_repeat: bool) -> SendResult:
        if service.plugin is None:
            return SendResult(state=SendState.FAILED, detail=service.problem)
        plugin, note = service.plugin, _REPEAT if is_repeat else ""
        _dress(service, message)
        lines.clear()
        if service.schema in _MAIL and (mail := _mail()).can_compose(plugin):
            was_sent = mail.deliver(plugin, message, self._format, note, lines)
        elif chat.takes_mattermost(plugin):
            return chat.post_mattermost(plugin, message, note)
        else:
            is_card = chat.dress(plugin, message, note)
            was_sent = plugin.notify(
                title=_title(service, message),
                # A long one would be split, and each part of it become the card.
                body=message.title if is_card else _body(service, message, note),
                notify_type=_apprise().NotifyType(_KINDS[message.kind]),
                # Without a format the body passes for HTML in mail and for markup in chat: "<x>" is lost, "<!channel>"
                # wakes everybody.
                body_format=_apprise().NotifyFormat(Format.TEXT.value if is_card else message.format.value),
            )
        if was_sent:
            return SendResult(state=SendState.DELIVERED, detail="delivered")
        is_connecting = any(line.startswith(NO_CONNECTION) for line in lines)
        reason = explain(lines, self._url, is_connecting=is_connecting)
        return SendResult(state=reason.state, is_retryable=reason.is_retryable, detail=reason.detail)


def _mail() -> ModuleType:
    """Loaded with apprise, on first use: what it needs of the standard library takes 6 MB."""
    from zkalert.senders import mail  # noqa: PLC0415 - as said

    return mail


def _title(service: _Service, message: Message) -> str:
    return message.title if service.schema in _PLAIN else without_mentions(message.title)


def _body(service: _Service, message: Message, note: str) -> str:
    """The body in the message's format, cut to what the service takes."""
    most = MAX_BODY
    if service.plugin.overflow_mode == _apprise().OverflowMode.TRUNCATE and service.plugin.body_maxlen:
        taken = len(message.title) if service.plugin.title_maxlen <= 0 else 0
        most = min(most, max(1, service.plugin.body_maxlen - taken - len(note) - 8))
    if service.schema in _MARKUP:
        body = written(message, Format.TEXT, min(most, _MOST_ON_DESKTOP))
        return html.escape(f"{note}\n{body}" if note else body, quote=False)
    body = written(message, message.format, most)
    if message.format is Format.TEXT and service.schema not in _PLAIN:
        body = without_mentions(body)
    return f"{note}\n{body}" if note else body


def validate_url(url: str) -> str | None:
    """Why `url` cannot be sent to, in words without a secret; None where nothing is wrong with it.

    Loads apprise, and sends nothing. What apprise only warns of (a time-out that is no number, a copy to no address)
    counts as wrong here: it goes on without the part that somebody wrote.
    """
    schema = _SCHEME.match(url)
    if schema is not None and schema[1].lower() in desktop.SCHEMES:
        return desktop.url_problem(url)
    if schema is not None and schema[1].lower() in _WEBHOOK:
        from zkalert.senders import webhook  # noqa: PLC0415 - as for mail

        return webhook.url_problem(url)
    lines: list[str] = []
    _heard.lines = lines
    try:
        service = _open(url, lines)
    finally:
        _heard.lines = None
    if service.problem:
        return service.problem
    return f"a part of the URL would be ignored: {scrub(lines[-1], url)}" if lines else None


def _open(url: str, lines: list[str]) -> _Service:
    """Make the plugin for `url`; `lines` is where this thread hears apprise."""
    schema = _SCHEME.match(url)
    if schema is None:
        return _Service(None, "not a URL: it does not begin with a service such as mailto:// or slack://")
    apprise = _apprise()
    asset = apprise.AppriseAsset(
        app_id="zkalert",
        app_desc="zkalert",
        http_redirects=False,
        interpret_escapes=False,
        interpret_emojis=False,
        secure_logging=True,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    try:
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=False)
    except Exception as error:  # noqa: BLE001 - each plugin has its own way to say no
        return _Service(None, f"not a valid {schema[1].lower()}:// URL: {scrub(str(error), url) or 'see its manual'}")
    if plugin is None:
        return _Service(None, _why_none(schema[1].lower(), url, lines))
    _configure(plugin, url)
    if isinstance(plugin.port, int) and not 0 < plugin.port < 65536:
        return _Service(None, f"{plugin.port} is no port; expected 1 to 65535")
    if schema[1].lower() in _MAIL and not plugin.targets:
        return _Service(None, "the URL has no valid recipient; expected ...?from=A@B&to=C@D")
    return _Service(plugin, "", str(plugin.schema))


def _configure(plugin: Any, url: str) -> None:
    """Set what no parameter of a URL can, and the defaults that suit alerts."""
    plugin.logger = _private
    given = {pair.partition("=")[0].lower() for pair in url.partition("?")[2].split("&")}
    plugin.request_rate_per_sec = 0  # otherwise 5.5 s of sleep between two mails; who calls us keeps the rate
    # A redirect that is followed turns the POST into an empty GET, whose success is reported: the alert is lost. So
    # not even `redirect=yes` in the URL is obeyed.
    plugin.redirects = False
    plugin.zkalert_has_urgency = bool(given & {"urgency", "priority"})
    if "cto" not in given:
        plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, _CONNECT_TIMEOUT)
    if "overflow" not in given:
        plugin.overflow_mode = _apprise().OverflowMode.TRUNCATE  # a service would refuse what is too long for it


def _dress(service: _Service, message: Message) -> None:
    """Put what programs want of a message beside its words, where the service can carry it."""
    plugin = service.plugin
    if service.schema in _WITH_FIELDS:
        if not hasattr(plugin, "zkalert_own"):
            plugin.zkalert_own = dict(plugin.payload_extras)
        plugin.payload_extras = _extras(message, plugin.zkalert_own)
        if service.schema.startswith("xml"):
            plugin.xsd_url = None  # the schema does not know our fields
    elif service.schema in _MARKUP and not plugin.zkalert_has_urgency:
        plugin.urgency = _URGENCY[message.kind]


def _extras(message: Message, own: dict[str, str]) -> dict[str, str]:
    """The fields of a message under the URL's own ones: `:host=` leaves `host` out, `:host=node` renames it."""
    extras = {"key": message.key, **message.fields}
    for name, value in own.items():
        if name not in extras:
            extras[name] = value
            continue
        field = extras.pop(name)
        if value:
            extras[value] = field
    return extras


def _why_none(schema: str, url: str, lines: list[str]) -> str:
    """Why apprise made no plugin: it returns None for what it does not know, cannot parse, or lacks the parts for."""
    known = _schemas()
    if any("disabled on this system" in line for line in lines):
        return f"{schema}:// is not supported on this system: what it needs is not installed"
    if schema in ("http", "https"):
        return f"not a URL of a known service; a webhook of your own is written json{'s' * (schema == 'https')}://"
    if schema not in known:
        near = nearest(schema, [*known, *_OWN])
        return f'unknown service "{schema}"' + (f'; did you mean "{near}"?' if near else "")
    said = next((line for line in reversed(lines) if not line.startswith("Unparseable")), "")
    return f"not a valid {schema}:// URL: {scrub(said, url) if said else 'a part is missing or has the wrong form'}"


def _schemas() -> list[str]:
    return [str(schema) for schema in _apprise().manager_plugins.NotificationManager().schemas()]
