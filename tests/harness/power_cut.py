"""What is on disk when the power goes: a trace of system calls, replayed up to a cut.

Reads the output of `strace -f -y -xx` (see TRACE). Up to the cut everything that a returned
sync covers is there; of each file's later writes a random part, in sectors; of each directory's
later changes a random beginning. Nothing is taken for granted that POSIX does not promise: a new
name is sure only once its directory was synced. Memory-mapped files are left out (SQLite makes its
-shm file anew).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALLS = ("openat", "pwrite64", "pwritev", "pwritev2", "write", "ftruncate", "fsync", "fdatasync",
         "unlink", "rename")  # fmt: skip
TRACE = ("-f", "-y", "-xx", "-s", "1000000", "-e", "trace=" + ",".join(CALLS))

_SECTOR = 512
_BEGUN = re.compile(r"(\w+)\((.*?)(?: <unfinished \.\.\.>|\) += (-?\d+).*)$", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)")
_FD = re.compile(r"(\d+)<([^>]*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_IOV = re.compile(r'iov_base="((?:\\x[0-9a-f]{2})*)"')


@dataclass(slots=True)
class Call:
    """One call: when it began and returned (places in the trace), and what it was about."""

    name: str
    begun: int
    arguments: str
    returned: int = -1
    result: int = -1


@dataclass(slots=True)
class File:
    """An inode: writes as (place, offset, data), data None for a truncation, and its syncs."""

    writes: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    syncs: list[tuple[int, int]] = field(default_factory=list)  # begun, returned


@dataclass(slots=True)
class Names:
    """A directory: changes as (place, name, file or None), and its syncs."""

    changes: list[tuple[int, str, File | None]] = field(default_factory=list)
    syncs: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Line:
    """A line the process wrote to its standard output."""

    begun: int
    returned: int
    text: str


class Disk:
    """Everything a trace did below one directory."""

    def __init__(self, trace: str, root: Path) -> None:
        """Read a trace."""
        self._root = str(root)
        self._live: dict[str, File] = {}
        self.directories: dict[str, Names] = {}
        self.lines: list[Line] = []
        self.length = 0
        for call in _calls(trace):
            self._take(call)
            self.length = max(self.length, call.returned + 1)

    def said(self, cut: int) -> list[str]:
        """Give the lines that were out at the cut; promises only once their write returned."""
        sure = {"ack", "ended", "noted", "closed"}
        return [
            line.text
            for line in self.lines
            if (line.returned if line.text.split()[0] in sure else line.begun) < cut
        ]

    def write_image(self, target: Path, cut: int, dice: random.Random) -> None:
        """Make below `target` what the disk holds when the power goes at `cut`."""
        target.mkdir(parents=True)
        contents: dict[int, bytes] = {}
        for directory, names in self.directories.items():
            where = target / directory[len(self._root) :].lstrip("/")
            where.mkdir(parents=True, exist_ok=True)
            for name, file in _names_at(names, cut, dice).items():
                if id(file) not in contents:
                    contents[id(file)] = _content_at(file, cut, dice)
                (where / name).write_bytes(contents[id(file)])

    def _take(self, call: Call) -> None:
        if call.result < 0:
            return
        if call.name in {"openat", "unlink", "rename"}:
            self._take_name(call)
            return
        found = _FD.match(call.arguments)
        if found is None:
            return
        fd, path = int(found[1]), _unhex(found[2])
        if call.name == "write" and fd == 1:
            for text in _data(call).decode().splitlines():
                self.lines.append(Line(call.begun, call.returned, text))
        elif path in self.directories and call.name in {"fsync", "fdatasync"}:
            self.directories[path].syncs.append((call.begun, call.returned))
        elif path in self._live:
            self._take_content(self._live[path], call)

    def _take_content(self, file: File, call: Call) -> None:
        if call.name in {"fsync", "fdatasync"}:
            file.syncs.append((call.begun, call.returned))
        elif call.name == "ftruncate":
            file.writes.append((call.begun, int(call.arguments.rpartition(", ")[2]), None))
        else:
            numbers = call.arguments.rsplit(", ", 2)[1:]  # pwritev2 ends with its flags
            offset = int(numbers[0 if call.name == "pwritev2" else 1])
            file.writes.append((call.begun, offset, _data(call)))

    def _take_name(self, call: Call) -> None:
        paths = [_unhex(text) for text in _TEXT.findall(call.arguments)]
        if not paths[0].startswith(self._root) or paths[0].endswith(("-shm", "lock")):
            return
        if call.name == "openat":
            if "O_DIRECTORY" not in call.arguments and paths[0] not in self._live:
                self._live[paths[0]] = File()
                self._change(call.begun, paths[0], self._live[paths[0]])
        elif paths[0] in self._live:
            file = self._live.pop(paths[0])
            if call.name == "rename":
                self._live[paths[1]] = file
                self._change(call.begun, paths[1], file)
            self._change(call.begun, paths[0], None)

    def _change(self, place: int, path: str, file: File | None) -> None:
        directory, _, name = path.rpartition("/")
        self.directories.setdefault(directory, Names()).changes.append((place, name, file))


def _names_at(names: Names, cut: int, dice: random.Random) -> dict[str, File]:
    sure = max((begun for begun, returned in names.syncs if returned < cut), default=-1)
    open_ = [c for c in names.changes if sure <= c[0] < cut]
    kept = [c for c in names.changes if c[0] < sure] + open_[: dice.randint(0, len(open_))]
    found: dict[str, File] = {}
    for _, name, file in kept:
        if file is None:
            found.pop(name, None)
        else:
            found[name] = file
    return found


def _content_at(file: File, cut: int, dice: random.Random) -> bytes:
    sure = max((begun for begun, returned in file.syncs if returned < cut), default=-1)
    lucky = dice.random()  # how much of what was not synced made it
    content = bytearray()
    for place, offset, data in file.writes:
        if place >= cut:
            break
        if data is None:
            if place < sure or dice.random() < lucky:
                del content[offset:]
                content.extend(bytes(offset - len(content)))
            continue
        for start in range(0, len(data), _SECTOR):
            if place < sure or dice.random() < lucky:
                _put(content, offset + start, data[start : start + _SECTOR])
    return bytes(content)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _calls(trace: str) -> Iterator[Call]:
    """Give the calls in the order in which they began."""
    calls: list[Call] = []
    unfinished: dict[str, Call] = {}
    for place, line in enumerate(trace.splitlines()):
        pid, _, what = line.partition(" ")
        what = what.strip()
        resumed = _RESUMED.match(what)
        if resumed is not None:
            call = unfinished.pop(pid, None)
            if call is not None:
                call.arguments += resumed[2]
                call.returned, call.result = place, int(resumed[3])
            continue
        begun = _BEGUN.match(what)
        if begun is None:
            continue
        call = Call(begun[1], place, begun[2])
        calls.append(call)
        if begun[3] is None:
            unfinished[pid] = call
        else:
            call.returned, call.result = place, int(begun[3])
    yield from calls


def _data(call: Call) -> bytes:
    texts: Sequence[str] = _IOV.findall(call.arguments) or _TEXT.findall(call.arguments)
    return b"".join(bytes.fromhex(text.replace("\\x", "")) for text in texts)


def _unhex(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text
