"""What is counted: the closed list of measures, each with what it counts and the moment it is
counted at.

A cell of a cube is one number per measure, in the order of `MEASURES`. The order is the order of
the columns and may only grow at its end. Measures that can be worked out from others (bounced,
rates, percentiles) are not stored; `questions.py` derives them.
"""

from __future__ import annotations

from typing import NamedTuple


class Measure(NamedTuple):
    """One stored measure: its name (also the column's), what one of it is, and when it counts."""

    name: str
    unit: str  # "events" or "messages" (a message to one recipient: a delivery)
    moment: str  # the moment that decides the time interval
    text: str


_OWN = "the event's own time"

MEASURES: tuple[Measure, ...] = (
    Measure("requested", "messages", "first accepted, excluded or rejected", "handed in"),
    Measure("accepted", "messages", "acceptance", "taken into the spool"),
    Measure("excluded", "messages", "exclusion", "left out, with a reason"),
    Measure("rejected", "messages", "refusal", "refused at submission"),
    Measure(
        "sent", "messages", "final reply", "finally answered by the remote: delivered or bounced"
    ),
    Measure("delivered", "messages", "final reply", "taken by the remote and not bounced later"),
    Measure("deferred", "events", _OWN, "attempts that were put off"),
    Measure("deferred_messages", "messages", "first deferral", "put off at least once"),
    Measure("bounced_hard", "messages", "final reply", "refused for good: the address"),
    Measure("bounced_soft", "messages", "final reply", "refused: anything but the address"),
    Measure("bounced_ignored", "messages", "final reply", "refused for a reason that says nothing"),
    Measure("later_hard", "messages", "the delivery it corrects", "delivered, then bounced hard"),
    Measure("later_soft", "messages", "the delivery it corrects", "delivered, then bounced soft"),
    Measure("later_ignored", "messages", _OWN, "delivered, then a notice that changes nothing"),
    Measure("failed", "messages", "failure", "given up: expired, cancelled, local error"),
    Measure("opens", "events", _OWN, "opens by whomever"),
    Measure("opens_human", "events", _OWN, "opens by people"),
    Measure("opened", "messages", "first open", "opened at least once"),
    Measure("opened_human", "messages", "first open by a person", "opened by a person"),
    Measure("clicks", "events", _OWN, "clicks by whomever"),
    Measure("clicks_human", "events", _OWN, "clicks by people"),
    Measure("clicked", "messages", "first click", "clicked at least once"),
    Measure("clicked_human", "messages", "first click by a person", "clicked by a person"),
    Measure("unsubscribes", "events", _OWN, "requests to unsubscribe"),
    Measure("unsubscribed", "messages", "first request", "led to an unsubscription"),
    Measure("complaints", "events", _OWN, "spam complaints"),
    Measure("complained", "messages", "first complaint", "led to a spam complaint"),
    Measure("autoreplies", "events", _OWN, "automatic replies"),
)
NAMES: tuple[str, ...] = tuple(measure.name for measure in MEASURES)
INDEX: dict[str, int] = {name: number for number, name in enumerate(NAMES)}
WIDTH = len(NAMES)

(
    REQUESTED,
    ACCEPTED,
    EXCLUDED,
    REJECTED,
    SENT,
    DELIVERED,
    DEFERRED,
    DEFERRED_MESSAGES,
    BOUNCED_HARD,
    BOUNCED_SOFT,
    BOUNCED_IGNORED,
    LATER_HARD,
    LATER_SOFT,
    LATER_IGNORED,
    FAILED,
    OPENS,
    OPENS_HUMAN,
    OPENED,
    OPENED_HUMAN,
    CLICKS,
    CLICKS_HUMAN,
    CLICKED,
    CLICKED_HUMAN,
    UNSUBSCRIBES,
    UNSUBSCRIBED,
    COMPLAINTS,
    COMPLAINED,
    AUTOREPLIES,
) = range(WIDTH)

RECIPIENTS: dict[str, int] = {
    "requested_recipients": REQUESTED,
    "delivered_recipients": DELIVERED,
    "opening_recipients": OPENS,
    "opening_recipients_human": OPENS_HUMAN,
    "clicking_recipients": CLICKS,
    "clicking_recipients_human": CLICKS_HUMAN,
    "unsubscribing_recipients": UNSUBSCRIBES,
    "complaining_recipients": COMPLAINTS,
}
"""Distinct recipients: the measure whose moments a recipient is seen at (any of them, not the
first)."""
