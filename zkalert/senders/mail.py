"""A message as a mail: a page and the same in plain text, in one thread with the others of its episode.

Comes in: apprise's plugin for a mail URL, and a message. apprise reads the URL and speaks SMTP; the mail itself is
composed here, since apprise makes its plain part out of the page. Headers are set by the standard library, which
refuses what would break out of one.
"""

from __future__ import annotations

import hashlib
import smtplib
import sys
from collections.abc import Iterator, Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any, NamedTuple

from zkalert import clock
from zkalert.model import Format, Message, MessageKind
from zkalert.render import page, written
from zkalert.render.text import line
from zkalert.senders.reasons import NO_CONNECTION

_POLICY = SMTP.clone(cte_type="7bit")  # not every server takes eight bits
_MOST_SUBJECT = 250
_MOST_HEADER = 900  # a line of a mail has 998 bytes
_DOMAIN = "zkalert.invalid"
_ALWAYS_OURS = ("subject", "from", "to", "cc", "references", "in-reply-to", "content-type", "mime-version")


class _Envelope(NamedTuple):
    recipients: Sequence[str]
    mail: EmailMessage


def can_compose(plugin: Any) -> bool:
    """Whether a plugin sends mail by SMTP, and not encrypted: apprise does that with what it composed itself."""
    return type(plugin).__name__ == "NotifyEmail" and str(plugin.pgp_mode) == "no"


def deliver(plugin: Any, message: Message, form: Format | None, note: str, lines: list[str]) -> bool:
    """Send `message` to each recipient; whether all were taken. What went wrong is in `lines`, as apprise says it.

    `form` is what the channel asks for; None or HTML makes the page.
    """
    controller = sys.modules["apprise.plugins.email.smtp"].__dict__["AppriseSMTPController"]
    try:
        with controller(
            host=plugin.smtp_host,
            port=plugin.port,
            secure_mode=plugin.secure_mode,
            user=plugin.user,
            password=plugin.password,
            verify_certificate=plugin.verify_certificate,
            socket_connect_timeout=plugin.socket_connect_timeout,
        ) as server:
            sent = [
                server.sendmail(plugin.from_addr[1], one.recipients, one.mail.as_bytes(policy=_POLICY))
                for one in _envelopes(plugin, message, form, note)
            ]
    except (OSError, smtplib.SMTPException, RuntimeError) as error:  # what its plugin catches of connection and login
        lines += [NO_CONNECTION, f"Socket Exception: {error}"]
        return False
    return all(sent)


def _envelopes(plugin: Any, message: Message, form: Format | None, note: str) -> Iterator[_Envelope]:
    """One mail for each recipient, with the copies that the URL asks for."""
    for name, address in plugin.targets:
        hidden = set(plugin.bcc) - {address}
        copies = set(plugin.cc) - hidden - {address}
        mail = _composed(message, form, note, plugin.from_addr[1].rpartition("@")[2])
        mail["From"] = _address(plugin.from_addr[0], plugin.from_addr[1])
        mail["To"] = _address(name, address)
        if copies:
            mail["Cc"] = tuple(_address(plugin.names.get(one), one) for one in sorted(copies))
        answers = sorted(set(plugin.reply_to) - {address})
        if answers:
            mail["Reply-To"] = tuple(_address(plugin.names.get(one), one) for one in answers)
        mail["X-Application"] = plugin.app_id
        for header, text in plugin.headers.items():  # the URL's own
            if header.lower() not in _ALWAYS_OURS:
                del mail[header]
                mail[header] = line(text, _MOST_HEADER)
        yield _Envelope([address, *sorted(copies), *sorted(hidden)], mail)


def _composed(message: Message, form: Format | None, note: str, domain: str) -> EmailMessage:
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = line(message.title, _MOST_SUBJECT)
    mail["Date"] = formatdate(clock.wall(), localtime=True)
    # A message that goes out again after a crash or a time-out has the id it had: mail stores then keep it once.
    mail["Message-ID"] = _id(message.key, domain)
    if message.thread:
        root = _id(message.thread, domain)
        mail["In-Reply-To"] = root
        mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"  # keeps those away who answer that they are on holiday
    if message.kind is MessageKind.FAILURE:
        mail["Importance"] = "high"
    mail["X-Zkalert-Key"] = line(message.key, _MOST_HEADER).encode("ascii", "backslashreplace").decode()[:_MOST_HEADER]
    is_page = form in (None, Format.HTML)
    text = written(message, Format.TEXT) if is_page else message.body
    mail.set_content(f"{note}\n{text}" if note else text, charset="utf-8")
    if is_page:
        mail.add_alternative(page(message, note), subtype="html", charset="utf-8")
    return mail


def _id(of: str, domain: str) -> str:
    digest = hashlib.sha256(of.encode("utf-8", "replace")).hexdigest()[:32]
    return f"<{digest}@{domain if domain.isascii() and domain else _DOMAIN}>"


def _address(name: str | None, address: str) -> Address:
    return Address(display_name=line(name or "", 200), addr_spec=address)
