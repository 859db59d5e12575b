"""What kind of sender a mail has: a mail system reporting, a machine answering for a person, or neither.

Guarantees: looks at header fields and the first `LOOK` characters of text only. `Auto-Submitted`
alone proves nothing (Postfix bounces carry `auto-replied`, RFC 3834 says otherwise), so a mail
system is recognised first, an auto-reply only among the rest.
"""

from __future__ import annotations

import re
from typing import Final

from bounces.anatomy import Fields, unword
from bounces.rules import fold

LOOK: Final = 3000


def folded(listed: str) -> tuple[str, ...]:
    """Read a list of phrases, one per `;` or line, folded as texts are."""
    return tuple(fold(p.strip()) for p in listed.replace("\n", ";").split(";") if p.strip())


_DAEMON = re.compile(
    r"mailer[-_ .]?daemon|post_?master|mail[-_ .]?(?:delivery|system|daemon|gateway|administrator|_?service@)|delivery[-_ .](?:sub)?system|delivery agent"
    r"|system administrator|message delivery|majordomo-owner|mdaemon|smtp_gateway|imss@|microsoftexchange[0-9a-f]{20}"
    r"|(?:^|[<\"\s])(?:bounces?|bounced|ndr|mta|mailadmin|mailmaster|exchange-?admin|double-bounce|mail-?returned)@"
)
_DIALOGUE = re.compile(
    r"^[ \t<>]*5\d\d[ -](?:5\.\d\.\d|<)|>>> ?rcpt to|<<< ?5\d\d|smtp error|said: ?5\d\d|\b5[05]\d 5\.\d\.\d",
    re.MULTILINE,
)
_SUBJECTS: Final = folded(
    """undeliver; delivery status; delivery-status; delivery fail; delivery report; delivery problem; delivery error; delivery notif; delivery delay
    delivery has; failure notice; failure notif; failure delivery; failed delivery; mail delivery; returned mail; mail returned; returning message
    return to sender; returned to sender; returned message; mail error; mail system error; message error; message status; mail status; message not delivered; mail not delivered
    could not be delivered; message delayed; mail delayed; message rejected; mail rejected; rejected mail; non-deliver; nondeliver; non deliver
    could not deliver; cannot be delivered; can't be delivered; not delivered; email fail; e-mail fail; mail fail; message fail; message delivery
    delayed mail; warning: could not send; warning: message; user unknown; unknown user; problem delivering; unable to deliver; mail system; mail could not; errors from; are not member; not a member of
    unzustellbar; nicht zugestellt; fehlgeschlagen; zustellung; non remis; non distribu; non delivre; echec; impossible de remettre; impossible de distribuer
    no se ha podido; no se pudo; no se puede; no entregado; mancata consegna; impossibile recapitare; mancato recapito; kan inte levereras; kunde inte levereras; gick inte att leverera; gar inte att leverera; leveransfel
    olevererbar; niet bestelbaar; onbestelbaar; niet bezorgd; nao entreg; nao foi entreg; devolvid; falha na entrega; nie dostarczono; niedostarcz; nedorucit; \u043d\u0435 \u0434\u043e\u0441\u0442\u0430\u0432\u043b; \u043d\u0435\u0434\u043e\u0441\u0442\u0430\u0432
    \u9000\u4fe1; \u6295\u905e\u5931\u6557; \u6295\u9012\u5931\u8d25; \u65e0\u6cd5\u6295\u9012; \u7121\u6cd5\u50b3\u9001; \u53d1\u9001\u5931\u8d25; \u672a\u9001\u8fbe; \u914d\u4fe1\u4e0d\u80fd; \u914d\u4fe1\u3067\u304d\u307e; \u9001\u4fe1\u3067\u304d\u307e; \u914d\u9001\u3067\u304d\u307e; \u4e0d\u9054; \u914d\u4fe1\u30a8\u30e9\u30fc; \u914d\u4fe1\u5931\u6557; \uc804\uc1a1 \uc2e4\ud328; \ubc18\uc1a1"""
)
_OPENINGS: Final = folded(
    """could not be deliver; could not deliver; cannot be deliver; can not be deliver; can't be deliver; couldn't be deliver; couldn't deliver; not be delivered; wasn't able to deliver; was not able to deliver
    unable to deliver; failed to deliver; not able to deliver; were not able to deliver; has not been delivered; was not delivered; not delivered; did not reach; could not reach; could not be reached; could not be sent; cannot deliver; not been delivered
    wasn't delivered; couldn't be reached; delivery to; delivery of; delivery has; delivery status; delivery problem; delivery attempt; delivery fail; undeliver; delevery to; deliver to the following; delivery failed; returned mail; returned to sender; returned message
    permanent error; permanent fatal; failed recipient; automatically rejected; was rejected; has been rejected; following address; transcript of session; you are not a member; user unknown; no such user; mailbox full; over quota; not receive this message
    konnte nicht; nicht zugestellt; n'a pas pu; n'a pu etre; n'a pas ete; no se pudo; no pudo ser; no se ha podido; kunde inte; inte att leverera; kan niet; kon niet; niet worden bezorgd; nao foi; nao pode; non e stato possibile; non e' stato; nie mozna; \u043d\u0435 \u0443\u0434\u0430\u043b\u043e\u0441\u044c; \u043d\u0435 \u0431\u044b\u043b\u043e \u0434\u043e\u0441\u0442\u0430\u0432\u043b
    \u9000\u56de; \u9000\u4fe1; \u65e0\u6cd5; \u7121\u6cd5; \u672a\u80fd; \u3067\u304d\u307e\u305b\u3093\u3067\u3057\u305f; \u914d\u9001; \u914d\u4fe1; \u4e0d\u9054"""
)
_AUTO_SUBJECTS: Final = folded(
    """automatic reply; automatic response; auto reply; auto-reply; autoreply; auto response; auto-response; autoresponse; automated reply; automated response; automatically generated reply; (auto response); out of office; out of the office; out-of-office; ooo:; away from my; away from the; vacation; on leave; on holiday; holiday; absence; absent
    reponse automatique; absence du bureau; automatische antwort; automatisch antwoord; automatische beantwortung; automatische reply; abwesen; nicht im buro; autosvar; automatiskt svar; automatisk svar; automatisk besked; franvaro; ikke pa kontoret
    respuesta autom; fuera de la oficina; fuera de oficina; resposta autom; fora do escrit; ausencia; risposta autom; fuori sede; fuori ufficio; assenza; afwezig; poissa; automaattinen; odpowiedz autom; autoodpowied; \u0430\u0432\u0442\u043e\u043e\u0442\u0432\u0435\u0442
    \u81ea\u52a8\u56de\u590d; \u81ea\u52d5\u56de\u8986; \u5916\u51fa; \u81ea\u52d5\u5fdc\u7b54; \u81ea\u52d5\u8fd4\u4fe1; \u4e0d\u5728; \u4f11\u5047; \u4f11\u6687; \ubd80\uc7ac\uc911; \uc790\ub3d9 \ud68c\uc2e0"""
)
_AUTO_PREFIX: Final = ("auto:", "autoreply:", "auto-reply:", "[auto", "(auto")
_CHALLENGES: Final = folded(
    """confirm your message; confirm your email; confirm your e-mail; confirm your request; confirmation required; confirmation needed; please confirm; confirmation requested; confirm that you; verify your email; verify your message; verify your address; verifying your
    sender verification; sender authentication; sender validation; sender approval; authorization requested; authorize your; authorise your; authorization required; challenge/response; challenge-response; challenge response; spamarrest; spam arrest; boxbe; bluebottle; mailinblack; click the link below to deliver; verification required; verify that you are; verify you are
    prove that you are human; you are a human; you are human; are a real person; tmda; awaits your confirmation; awaiting confirmation; awaiting your confirmation; awaits verification; awaiting verification; to complete delivery; to ensure delivery; complete the delivery; knowspam; choicemail; vanquish; approved sender; allowed sender; approved senders list; unrecognized sender; guest list"""
)
_NO_CHALLENGE: Final = folded(
    """subscription; subscribe; unsubscribe; your account; your order; newsletter"""
)
_NOT_ANSWERED: Final = frozenset({"no", ""})
_AUTO_WORDS: Final = frozenset({"auto_reply", "auto-reply", "autoreply"})
_AUTO_FIELDS: Final = (
    "x-autoreply",
    "x-autorespond",
    "x-autoreply-from",
    "x-mail-autoreply",
    "x-auto-response",
    "x-autoresponse",
    "x-yahoo-autoresp",
    "x-autoresponder",
    "x-auto-reply",
    "x-vacation",
    "x-amazon-auto-reply",
    "x-autogenerated",
    "x-freemail-autoreply",
    "x-ms-exchange-generated-message-source",
)
_CHALLENGE_FIELDS: Final = (
    "x-spamarrest-info",
    "x-boxbe",
    "x-tmda-confirm",
    "x-mailinblack",
    "x-bluebottle-request",
    "x-tmda-fingerprint-confirm",
    "x-asap-sender-verify",
    "x-spamarrest",
)


def _any(phrases: tuple[str, ...], text: str) -> bool:
    return any(phrase in text for phrase in phrases)


def reporter(fields: Fields, text: str) -> str:
    """Say why this mail is a mail system reporting about a delivery, or `""`."""
    if "x-failed-recipients" in fields:
        return "X-Failed-Recipients"
    sender = fields.get("from").lower()
    subject = fold(unword(fields.get("subject")))
    null_path = fields.get("return-path") == "<>"
    daemon = bool(_DAEMON.search(sender)) or sender.endswith("<>") or (not sender and null_path)
    subjected = _any(_SUBJECTS, subject)
    if not subjected and "daemon" not in sender and _is_auto_subject(subject):
        return ""
    if not (daemon or subjected or null_path):
        return ""
    words = fold(text[:LOOK])
    opened = _any(_OPENINGS, words) or _DIALOGUE.search(words) is not None
    if "report-type=delivery-status" in fields.get("content-type").replace('"', "").lower():
        return "a delivery report by its type"
    if daemon and (subjected or opened):
        return "a mail system's name and words"
    if subjected and (opened or null_path):
        return "a subject and words of failed delivery"
    if null_path and opened:
        return "the null sender and words of failed delivery"
    return ""


def _is_auto_subject(subject: str) -> bool:
    return subject.startswith(_AUTO_PREFIX) or _any(_AUTO_SUBJECTS, subject)


def answering(fields: Fields, text: str) -> str:
    """Say what answers here for a person: `vacation`, `challenge`, or `""`."""
    subject = fold(unword(fields.get("subject")))
    submitted = fields.get("auto-submitted").lower().partition(";")[0].partition(" ")[0].strip()
    automatic = _is_automatic(fields, submitted)
    null_path = fields.get("return-path") == "<>"
    if any(name in fields for name in _CHALLENGE_FIELDS):
        return "challenge"
    if automatic or null_path or submitted not in _NOT_ANSWERED:
        words = subject + "\n" + fold(text[:LOOK])
        if _any(_CHALLENGES, words) and not _any(_NO_CHALLENGE, words):
            return "challenge"
    return "vacation" if automatic or _is_auto_subject(subject) else ""


def _is_automatic(fields: Fields, submitted: str) -> bool:
    return (
        submitted in ("auto-replied", "auto-notified")
        or any(fields.get(name) for name in _AUTO_FIELDS)
        or any(
            fields.get(name).lower() in _AUTO_WORDS
            for name in ("precedence", "x-precedence", "preference")
        )
        or "vacation" in fields.get("delivered-by-the-graces-of").lower()
    )
