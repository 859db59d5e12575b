"""The plan of a message as it is stored: packed once for all mails that have the same part.

Guarantees: what `unpack` gives for `pack` is the message's plan, its offsets counted from
`Packed.at`. Most mails have one part that is changed: its plan is made and packed once for all
mails in which it stands, whatever the length of their headers, as one and the same bytes object.
"""

import msgspec

from relay.mail.mime import Part
from tracking.plan import Budget, Compiler, PartEdit, Plan, Readings, Switches, prepare
from tracking.reading import Packed, Reading, shifted

_MAX_PATHS = 8  # places in mails for which the plan of a part is kept
_BUDGET = Budget()
_encode = msgspec.msgpack.Encoder().encode

unpack = msgspec.msgpack.Decoder(Plan).decode


def pack(
    message: bytes,
    switches: Switches,
    *,
    base_url: str,
    own_hosts: frozenset[str] = frozenset(),
    known: Readings | None = None,
) -> Packed:
    """Compile a message's plan and pack it; arguments and errors are those of `compile_plan`."""
    compiler = prepare(message, switches, base_url, own_hosts, known, _BUDGET)
    refusal = compiler.refusal(rewrite_signed=False)
    if refusal:
        return Packed(refusal)
    found = list(compiler.candidates())
    if len(found) == 1 and not found[0].reason:
        part = found[0].part
        reading = compiler.read(part)
        if isinstance(reading, Reading):
            return _alone(compiler, part, reading)
    plan = compiler.compile()
    return Packed(plan.skipped) if plan.skipped else Packed("", _encode(plan))


def _alone(compiler: Compiler, part: Part, reading: Reading) -> Packed:
    """Pack the plan of a message in which one part may be changed."""
    made = reading.packed.get(part.path)
    if made is None:
        plan = compiler.compile_only(part, reading)
        relative = None if plan.skipped else _relative(plan, part)
        if relative is None:  # what is changed is not all in the part's body
            return Packed(plan.skipped) if plan.skipped else Packed("", _encode(plan))
        made = Packed("", _encode(relative))
        if len(reading.packed) < _MAX_PATHS:
            reading.keep_packed(part.path, made)
    return made._replace(at=part.body_start)


def _relative(plan: Plan, part: Part) -> Plan | None:
    """Count a plan's offsets from its part's body; None if it also changes the part's header."""
    at, size = part.body_start, part.end - part.body_start
    if not size or any(not edit.width for edit in plan.parts):
        return None
    return msgspec.structs.replace(
        plan,
        holes=shifted(plan.holes, -at, 0),
        parts=[PartEdit(0, size, edit.width, edit.holes) for edit in plan.parts],
        size=size,
    )
