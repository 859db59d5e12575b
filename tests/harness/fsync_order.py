"""Judges a trace of system calls: was the mail on disk before the client was told so?

Reads the output of `strace -f -y -s 65536` (or less: only the first and last octets of what is
read and written matter). Between the client's final dot on a connection and the `250` written to
it there must be a successful sync, begun after the dot was read, of every kind of file that is
asked for; a call that strace faked (`INJECTED`) did nothing and does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

READS = frozenset({"read", "readv", "recvfrom", "recvmsg"})
WRITES = frozenset({"write", "writev", "sendto", "sendmsg"})
SYNCS = frozenset({"fsync", "fdatasync"})
TRACE = "trace=" + ",".join(sorted(READS | WRITES | SYNCS | {"close"}))
"""What strace has to be asked for."""

_LINE = re.compile(r"(?:\[pid +)?(?P<pid>\d+)\]? +(?:[\d:.]+ +)?(?P<what>.*)", re.DOTALL)
_BEGUN = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>$", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)(.*)$", re.DOTALL)
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+)(.*)$", re.DOTALL)
_FD = re.compile(r"(\d+)(?:<(.*?)>)?(?:,|$)")
_DOT = re.compile(r"\\r\\n\.\\r\\n")
_TAKEN = re.compile(r"(?:^|\\n)250[ -]2\.[06]\.0")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class _Dot:
    """A final dot that waits for its answer, and the kinds of file synced since."""

    read: int  # number of the call
    synced: set[str] = field(default_factory=set)


@dataclass
class _Connection:
    """One socket: the last octets read, and the dots that wait."""

    tail: str = ""
    dots: list[_Dot] = field(default_factory=list)

    def take(self, text: str, number: int) -> None:
        """Note what was read, at the call of this number."""
        seen = self.tail + text
        ends = _DOT.findall(seen)
        self.dots += (_Dot(read=number) for _ in ends)
        self.tail = "" if ends else seen[-20:]

    def reply(self, text: str, needs: tuple[str, ...]) -> Iterator[str]:
        """Give "" for each acknowledgement that came in time, else what was missing."""
        for _ in _TAKEN.findall(text):
            if self.dots:
                dot = self.dots.pop(0)
                missing = [need for need in needs if need not in dot.synced]
                yield f"250 before a sync of {' and '.join(missing)}" if missing else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found: acknowledgements in all, and those that came too early, with the reason."""

    acknowledged: int
    early: tuple[str, ...]


def judge(lines: Iterable[str], needs: tuple[str, ...]) -> Verdict:
    """Check a trace; `needs` are parts of file names, each of which must have been synced."""
    connections: dict[int, _Connection] = {}
    answers: list[str] = []
    for number, call in _calls(lines):
        if call.name in SYNCS:
            _note_sync(connections.values(), call, needs)
        elif call.name == "close":
            connections.pop(call.fd, None)
        elif not _is_socket(call.path):
            continue
        elif call.name in READS and call.result > 0:
            connections.setdefault(call.fd, _Connection()).take(call.text, number)
        elif call.name in WRITES and call.fd in connections:
            said = connections[call.fd].reply(call.text, needs)
            answers += (f"call {number}: {problem}" if problem else "" for problem in said)
    return Verdict(acknowledged=len(answers), early=tuple(filter(None, answers)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    name: str
    fd: int
    path: str
    text: str
    result: int
    fake: bool
    began: int


def _calls(lines: Iterable[str]) -> Iterator[tuple[int, _Call]]:
    """Give calls in the order in which they ended; writes when they began: the peer may see them
    then.
    """
    begun: dict[str, tuple[int, str, str]] = {}
    for number, line in enumerate(lines):
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            continue
        pid, what = found["pid"], found["what"]
        if opened := _BEGUN.match(what):
            begun[pid] = (number, opened[1], opened[2])
            if opened[1] in WRITES:
                yield number, _call(number, opened[1], opened[2], 1)
        elif ended := _RESUMED.match(what):
            began, name, args = begun.pop(pid, (number, ended[1], ""))
            if name not in WRITES:
                yield number, _call(began, name, args + ended[2], int(ended[3]), ended[4])
        elif whole := _WHOLE.match(what):
            yield number, _call(number, whole[1], whole[2], int(whole[3]), whole[4])


def _call(began: int, name: str, args: str, result: int, remark: str = "") -> _Call:
    fd = _FD.match(args)
    return _Call(
        name=name,
        fd=int(fd[1]) if fd else -1,
        path=(fd[2] or "") if fd else "",
        text="".join(_TEXT.findall(args)),
        result=result,
        fake="(INJECTED)" in remark,
        began=began,
    )


def _note_sync(connections: Iterable[_Connection], call: _Call, needs: tuple[str, ...]) -> None:
    if call.result != 0 or call.fake:
        return
    for connection in connections:
        for dot in connection.dots:
            if dot.read < call.began:  # a sync begun before the mail was read may have missed it
                dot.synced.update(need for need in needs if need in call.path)


def _is_socket(path: str) -> bool:
    return path.startswith(("socket:", "TCP:", "TCPv6:"))
