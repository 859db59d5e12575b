"""What kind of sender a mail has: a mail system reporting, a machine answering for a person, or neither.

Guarantees: looks at header fields and the first `LOOK` characters of text only. `Auto-Submitted`
alone proves nothing (Postfix bounces carry `auto-replied`, RFC 3834 says otherwise), so a mail
system is recognised first, an auto-reply only among the rest.
"""

from __future__ import annotations

import re
from typing import Final

from bounces.anatomy import Fields, unword

LOOK: Final = 3000

_DAEMON = re.compile(
    r"mailer[-_ .]?daemon|mail[-_ .]delivery[-_ .](?:sub)?system|delivery[-_ .](?:sub)?system|mail[-_ .]?system"
    r"|^\"?(?:[^<]{0,60}<)?(?:postmaster|mail-?daemon|mdaemon|majordomo-owner|no-?reply-?bounce|bounce[sd]?|ndr|mta|mail-?delivery"
    r"|mailadmin|mailmaster|exchange-?admin|double-bounce|mail-?returned)@|mail administrator|system administrator|postmaster\b|message delivery"
    r"|internet mail delivery|mail gateway|mail delivery|delivery agent|smtp_gateway|imss@|mail_?service@|microsoftexchange[\da-f]{20}",
    re.I,
)
_SUBJECT = re.compile(
    r"undeliver|delivery[- ](?:status|fail|report|problem|error|notif|delay|has)|fail(?:ure|ed) (?:notice|notif|delivery)|mail delivery"
    r"|returned mail|mail returned|return(?:ing|ed) (?:message|mail|to sender)|(?:mail|message) (?:system )?(?:error|status|not delivered|could not be delivered|delayed|rejected)"
    r"|non[- ]?deliver|nondeliver|could not (?:be )?deliver|cannot be delivered|can't be delivered|not delivered|rejected mail|mail rejected|(?:e-?mail|message|mail) (?:\w+ )?fail"
    r"|delayed mail|warning: (?:could not send|message)|unzustellbar|nicht zugestellt|fehlgeschlagen|non remis|non distribuable|non delivre|echec de (?:la )?(?:remise|distribution)"
    r"|\u00e9chec|non remis|impossible de (?:remettre|distribuer)|no se (?:ha )?(?:puede|podido|pudo) entregar|no entregado|mensaje no|mancata consegna|impossibile recapitare"
    r"|kan inte levereras|kunde inte levereras|olevererbart|niet bestelbaar|onbestelbaar|n\u00e3o (?:foi )?entreg|devolvid|falha na entrega|nie dostarczono|\u043d\u0435 \u0434\u043e\u0441\u0442\u0430\u0432\u043b"
    r"|\u043d\u0435\u0434\u043e\u0441\u0442\u0430\u0432|\u9000\u4fe1|\u6295\u905e\u5931\u6557|\u6295\u9012\u5931\u8d25|\u65e0\u6cd5\u6295\u9012|\u53d1\u9001\u5931\u8d25|\u914d\u4fe1\u4e0d\u80fd|\u914d\u4fe1\u3067\u304d\u307e|\u9001\u4fe1\u3067\u304d\u307e|\u914d\u9001\u3067\u304d\u307e|\u4e0d\u9054|\u914d\u4fe1\u30a8\u30e9\u30fc|\uc804\uc1a1 \uc2e4\ud328|\ubc18\uc1a1"
    r"|user unknown|unknown user|problem delivering|unable to deliver|message from .{0,40}mail system|mail could not",
    re.I,
)
_OPENING = re.compile(
    r"(?:could not|cannot|can't|can not|couldn't|wasn't able to|was not able to|unable to|failed to|not able to|were not able to|has not|did not|not) (?:be |been )?(?:\w+ )?(?:deliver|reach|sen[dt])"
    r"|delivery (?:to|of|has|status|problem|attempt|fail)|undeliver|deliver[a-z]* (?:to the following|failed)|returned (?:mail|to sender|message)|permanent (?:fatal )?error|failed recipient"
    r"|was (?:automatically )?rejected|following address|non (?:e|ha|e') stato|konnte nicht|n'a pas pu|no se pudo|no pudo ser|kunde inte|kan niet|nao (?:foi|pode)"
    r"|\u9000\u56de|\u9000\u4fe1|\u65e0\u6cd5|\u65e0\u6cd5\u53d1\u9001|\u3067\u304d\u307e\u305b\u3093\u3067\u3057\u305f|\u914d\u9001|\u914d\u4fe1",
    re.I,
)
_AUTO_SUBJECT = re.compile(
    r"^\s*(?:re:\s*|aw:\s*|sv:\s*)?(?:\[?auto(?:matic|mated|matisch|mati\w*)?[- ]?(?:reply|response|answer|antwort|svar|antwoord|odpowied\w*)?\]?\s*[:\]]"
    r"|auto(?:matic|mated)?[- ]?(?:reply|response|answer)\b|(?:i am |i'm )?out of (?:the )?office|out-of-office|ooo\b|away from|vacation|on (?:vacation|leave|holiday)|absence|absent|holiday"
    r"|r[e\u00e9]ponse automatique|absent|automatische (?:antwort|antwoord|beantwortung)|abwesen|au\u00dfer haus|nicht im b\u00fcro|autosvar|automatiskt svar|automatisk svar|franvaro|fr\u00e5nvaro"
    r"|respuesta autom|fuera de (?:la )?oficina|resposta autom|fora do escrit|risposta autom|fuori sede|assenza|afwezig|poissa|automaattinen|odpowied\u017a autom|autoodpowied|\u0430\u0432\u0442\u043e\u043e\u0442\u0432\u0435\u0442"
    r"|\u81ea\u52a8\u56de\u590d|\u81ea\u52d5\u56de\u8986|\u5916\u51fa\u4e2d|\u81ea\u52d5\u5fdc\u7b54|\u81ea\u52d5\u8fd4\u4fe1|\u4e0d\u5728|\u4f11\u6687|\ubd80\uc7ac\uc911|\uc790\ub3d9 ?\ud68c\uc2e0)"
    r"|automatic reply|automatically generated reply|auto-reply|autoreply|\(auto\s?(?:response|reply)\)",
    re.I,
)
_CHALLENGE = re.compile(
    r"please confirm your (?:message|e-?mail|request)|confirm(?:ation)? (?:is )?(?:required|needed|requested|your message)|verify(?:ing)? your (?:e-?mail|message|address)|sender verification|sender (?:authentication|validation|approval)"
    r"|authori[sz]ation requested|authori[sz]e your|challenge[/-]response|spamarrest|boxbe|bluebottle|mailinblack|click (?:here|the link|on the link|below).{0,60}(?:deliver|verify|confirm|human)"
    r"|prove (?:that )?you are (?:a )?human|tmda|your message (?:is )?awaits? (?:your )?(?:confirmation|verification)|to (?:complete|ensure) (?:the )?delivery|knowspam|choicemail|vanquish|allow.{0,12}sender",
    re.I,
)
_NOT_ANSWERED: Final = frozenset({"no", ""})
_AUTO_FIELDS: Final = (
    "x-autoreply", "x-autorespond", "x-autoreply-from", "x-mail-autoreply", "x-auto-response", "x-autoresponse",
    "x-yahoo-autoresp", "x-autoresponder", "x-auto-reply", "x-vacation", "x-amazon-auto-reply", "x-autogenerated", "x-freemail-autoreply",
    "x-ms-exchange-generated-message-source",
)
_CHALLENGE_FIELDS: Final = ("x-spamarrest-info", "x-boxbe", "x-tmda-confirm", "x-mailinblack", "x-bluebottle-request", "x-tmda-fingerprint-confirm", "x-asap-sender-verify", "x-spamarrest")


def reporter(fields: Fields, text: str) -> str:
    """Say why this mail is a mail system reporting about a delivery, or `""`."""
    if "x-failed-recipients" in fields:
        return "X-Failed-Recipients"
    sender = fields.get("from")
    subject = unword(fields.get("subject"))
    null_path = fields.get("return-path") == "<>"
    daemon = bool(_DAEMON.search(sender)) or sender.endswith("<>") or (not sender and null_path)
    subjected = bool(_SUBJECT.search(subject))
    if _AUTO_SUBJECT.search(subject) and not (subjected or "daemon" in sender.lower()):
        return ""
    opened = bool(_OPENING.search(text[:LOOK]))
    if daemon and (subjected or opened):
        return "a mail system's name and words"
    if subjected and (opened or null_path):
        return "a subject and words of failed delivery"
    if null_path and opened:
        return "the null sender and words of failed delivery"
    return ""


def answering(fields: Fields, text: str) -> str:
    """Say what answers here for a person: `vacation`, `challenge`, or `""`."""
    subject = unword(fields.get("subject"))
    if any(name in fields for name in _CHALLENGE_FIELDS) or _CHALLENGE.search(subject):
        return "challenge"
    submitted = fields.get("auto-submitted").lower().partition(";")[0].partition(" ")[0].strip()
    automatic = (
        submitted in ("auto-replied", "auto-notified")
        or any(fields.get(name) for name in _AUTO_FIELDS)
        or fields.get("precedence").lower() in ("auto_reply", "auto-reply", "autoreply")
        or fields.get("preference").lower() == "auto_reply"
        or fields.get("x-precedence").lower() == "auto_reply"
        or "vacation" in fields.get("delivered-by-the-graces-of").lower()
        or bool(_AUTO_SUBJECT.search(subject))
    )
    if (automatic or fields.get("return-path") == "<>" or submitted not in _NOT_ANSWERED) and _CHALLENGE.search(text[:LOOK]):
        return "challenge"
    return "vacation" if automatic else ""
