"""From structured fields to a MIME message, built with the standard library's email package.

Guarantees: nothing that a field holds can become a header line of its own: control characters, line
and paragraph separators, and encoded words that decode to them are refused (InvalidError, which
names the field), in addresses, names, file names and header values alike. The result has CRLF line
ends, no line over 998 octets, and is 7-bit unless an address itself needs UTF-8. Header fields are
written here, the MIME structure and the encoding of parts by `email`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.errors import HeaderParseError, MessageError
from email.header import Header, decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP

from relay.control.operations.handing_in import Attachment, NewMessage
from relay.errors import InvalidError
from relay.mail.addresses import AddressError, Mailbox, parse_address

_POLICY = SMTP.clone(cte_type="7bit")
_BREAKS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_NAMED = re.compile(r"(?P<name>[^<>]*?)\s*<(?P<address>[^<>]*)>")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,75}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_CONTENT_ID = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~@-]{1,200}")
_LINE = 78
_LONGEST_LINE = 998
# What the other fields of the request make, or what only a relay may write.
_OURS = frozenset(
    ("from", "sender", "to", "cc", "bcc", "reply-to", "subject", "mime-version", "received")
) | {"return-path", "dkim-signature"}


@dataclass(frozen=True, slots=True)
class Person:
    """One address with the name that stands before it."""

    name: str
    mailbox: Mailbox

    def written(self) -> str:
        """Give it as a header writes it; the name may still need encoding."""
        address = str(self.mailbox)
        if not self.name:
            return address
        if not self.name.isascii():
            return f"{Header(self.name, 'utf-8', maxlinelen=10_000).encode()} <{address}>"
        if _ATOMS.fullmatch(self.name) and "=?" not in self.name:
            return f"{self.name} <{address}>"
        quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{address}>'


def person(typed: str, field: str) -> Person:
    """Read `name@domain` or `Name <name@domain>`; raises InvalidError."""
    check_text(typed, field)
    found = _NAMED.fullmatch(typed.strip())
    name, address = (found["name"], found["address"]) if found else ("", typed.strip())
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    try:
        mailbox = parse_address(address.encode("utf-8"), utf8=True)
        if mailbox.local.isascii():  # then the domain's A-labels spare the rest of the way UTF-8
            domain = mailbox.routing_domain.encode("ascii")
            mailbox = Mailbox(
                local=mailbox.local, domain=mailbox.domain if mailbox.domain.isascii() else domain
            )
    except (AddressError, UnicodeEncodeError):
        expected = 'expected "name@domain" or "Name <name@domain>"'
        raise InvalidError(f"{typed[:100]!r}: {expected}", field=field) from None
    return Person(_unencoded(name), mailbox)


def check_text(text: str, field: str) -> str:
    """Give the text back; raises InvalidError if it, or what it decodes to, could break a line."""
    if any(unicodedata.category(char) in _BREAKS for char in text):
        raise InvalidError("control characters and line breaks are not allowed", field=field)
    decoded = _unencoded(text)
    if decoded != text and any(unicodedata.category(char) in _BREAKS for char in decoded):
        raise InvalidError("an encoded word holds a control character", field=field)
    return text


def compose(new: NewMessage) -> bytes:
    """Build the message; Date and Message-ID are left to acceptance where they are not given."""
    if not new.from_:
        raise InvalidError("expected an address", field="from")
    head = b"".join(_head(new))
    body = _body(new)
    try:
        return head + body.as_bytes(policy=_POLICY)
    except (MessageError, UnicodeError, ValueError) as problem:
        raise InvalidError(f"no message can be made of this: {problem}") from None


def option_fields(new: NewMessage) -> bytes:
    """Give the options as the control headers that acceptance reads and takes out."""
    said = new.options
    if said is None:
        return b""
    lines: list[tuple[str, str]] = []
    for name, value in (
        ("Campaign", said.campaign),
        ("Template", said.template),
        ("Not-Before", said.not_before.isoformat() if said.not_before else ""),
        ("Track-Opens", _switch(said.track_opens)),
        ("Track-Clicks", _switch(said.track_clicks)),
        ("Unsubscribe", _switch(said.unsubscribe)),
        ("Priority", str(said.priority) if said.priority else ""),
        ("Mode", said.mode if said.mode != "live" else ""),
    ):
        if value:
            lines.append((name, value))
    lines += [("Tag", tag) for tag in said.tags]
    lines += [
        ("Metadata", json.dumps({key: value}, ensure_ascii=False))
        for key, value in said.metadata.items()
    ]
    fields = [
        f"X-Waypost-{name}: {check_text(value, 'options')}\r\n".encode() for name, value in lines
    ]
    if any(len(field) > _LONGEST_LINE for field in fields):
        raise InvalidError("one value is longer than a header line", field="options")
    return b"".join(fields)


def _switch(value: bool | None) -> str:
    return "" if value is None else ("on" if value else "off")


def _head(new: NewMessage) -> Iterator[bytes]:
    yield _addresses("From", (new.from_,), "from")
    for name, typed, field in (
        ("To", new.to, "to"),
        ("Cc", new.cc, "cc"),
        ("Reply-To", new.reply_to, "reply_to"),
    ):
        if typed:
            yield _addresses(name, typed, field)
    yield _field("Subject", check_text(new.subject, "subject"), "subject")
    yield from _own_fields(new.headers)


def _own_fields(headers: Mapping[str, str]) -> Iterator[bytes]:
    for name, value in headers.items():
        where = f"headers.{name[:80]}"
        if not _FIELD_NAME.fullmatch(name):
            raise InvalidError("a header name is letters, digits and hyphens", field=where)
        if name.lower() in _OURS or name.lower().startswith("content-"):
            raise InvalidError(f"{name} is not set here but by its own field", field=where)
        yield _field(name, check_text(value, where), where)


def _addresses(name: str, typed: Sequence[str], field: str) -> bytes:
    return _folded(name, ", ".join(person(one, field).written() for one in typed), field)


def _field(name: str, value: str, field: str) -> bytes:
    if value.isascii():
        return _folded(name, value, field)
    encoded = Header(value, "utf-8", header_name=name).encode(linesep="\r\n")
    return f"{name}: {encoded}\r\n".encode("ascii")


def _folded(name: str, value: str, field: str) -> bytes:
    """Write a field, folded at spaces; what has no space in 998 octets cannot be sent."""
    lines, line = [], f"{name}:"
    for word in value.split(" "):
        if line.strip() and word and len(line) + 1 + len(word) > _LINE and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    lines.append(line)
    encoded = [one.encode("utf-8") for one in lines if one.strip()]
    if max(map(len, encoded)) > _LONGEST_LINE:
        raise InvalidError(f"a word of more than {_LONGEST_LINE - 80} octets", field=field)
    return b"\r\n".join(encoded) + b"\r\n"


def _body(new: NewMessage) -> EmailMessage:
    message = EmailMessage(policy=_POLICY)
    for field, text in (("text", new.text), ("html", new.html)):
        if text is not None and "\0" in text:
            raise InvalidError("NUL is not allowed in mail", field=field)
    if new.text is not None or new.html is None:
        message.set_content(new.text or "", charset="utf-8")
        if new.html is not None:
            message.add_alternative(new.html, subtype="html", charset="utf-8")
    else:
        message.set_content(new.html, subtype="html", charset="utf-8")
    inline = [one for one in new.attachments if one.content_id]
    if inline and new.html is None:
        raise InvalidError("content_id is for what html shows; there is no html", field="html")
    page = message.get_body(("html",)) if inline else None
    for one in inline:
        if isinstance(page, EmailMessage):
            _attach(page, one)
    for one in new.attachments:
        if not one.content_id:
            _attach(message, one)
    return message


def _attach(part: EmailMessage, one: Attachment) -> None:
    main, _, sub = one.type.lower().partition("/")
    if not _MEDIA_TYPE.fullmatch(one.type.lower()) or main in ("multipart", "message"):
        expected = "expected a media type such as image/png, neither multipart nor message"
        raise InvalidError(expected, field="attachments.type")
    name = check_text(one.filename, "attachments.filename")
    data = decoded(one.content, "attachments.content")
    if not one.content_id:
        part.add_attachment(data, maintype=main, subtype=sub, filename=name)
        return
    if not _CONTENT_ID.fullmatch(one.content_id):
        raise InvalidError("expected an id without brackets", field="attachments.content_id")
    part.add_related(
        data,
        maintype=main,
        subtype=sub,
        filename=name or None,
        cid=f"<{one.content_id}>",
        disposition="inline",
    )


def decoded(text: str, field: str) -> bytes:
    """Decode base64, line ends allowed; raises InvalidError."""
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidError("expected base64 (RFC 4648 section 4)", field=field) from None


def _unencoded(text: str) -> str:
    """Give a text with its encoded words decoded, as a mail program would show it."""
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, UnicodeError, LookupError, ValueError):
        return text
