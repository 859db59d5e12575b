"""Draws the stacks that `bench.flame` collects as a picture: width is share of samples, height is
depth.

    python -m bench.flame_picture STACKS PICTURE.svg [--from FRAME]

Only stacks that hold the frame are drawn, from it upwards; what is below half a percent is left
out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.sax.saxutils import escape

_WIDTH, _ROW, _LEAST = 1200, 16, 0.005
_COLOURS = ("#f2a65a", "#eec170", "#f58549", "#e8b04b")


class Node:
    """A frame under its callers."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self.samples = 0
        self.callees: dict[str, Node] = {}


def tree(stacks: str, root: str) -> Node:
    """Add up folded stacks ("a;b;c 12") from the frame that begins with `root`."""
    top = Node()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rsplit(":", 1)[0] + ")" for frame in stack.split(";")]
        start = next((at for at, frame in enumerate(frames) if frame.startswith(root)), None)
        if start is None:
            continue
        node = top
        node.samples += int(count)
        for frame in frames[start:]:
            node = node.callees.setdefault(frame, Node())
            node.samples += int(count)
    return top


def draw(top: Node) -> str:
    """Give the picture as SVG."""
    boxes: list[str] = []
    deepest = 0
    waiting = [(top, 0.0, 0)]
    while waiting:
        node, left, depth = waiting.pop()
        for name, callee in sorted(node.callees.items()):
            width = callee.samples / top.samples * _WIDTH
            if width >= _LEAST * _WIDTH:
                boxes.append(_box(name, left, width, depth, callee.samples / top.samples))
                deepest = max(deepest, depth + 1)
                waiting.append((callee, left, depth + 1))
            left += width
    height = deepest * _ROW
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
    return start + 'font-family="monospace" font-size="10">\n' + "\n".join(boxes) + "\n</svg>\n"


def _box(name: str, left: float, width: float, depth: int, share: float) -> str:
    colour = _COLOURS[len(name) % len(_COLOURS)]
    said = escape(name.partition(" (")[0][: int(width / 6.2)])
    return (
        f'<g><title>{escape(name)} {share:.1%}</title><rect x="{left:.1f}" y="{depth * _ROW}" '
        f'width="{width:.1f}" height="{_ROW - 1}" fill="{colour}"/>'
        f'<text x="{left + 2:.1f}" y="{depth * _ROW + 11}">{said}</text></g>'
    )


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(prog="python -m bench.flame_picture")
    parser.add_argument("stacks", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--from", dest="root", default="Runner.run")
    options = parser.parse_args()
    options.picture.write_text(draw(tree(options.stacks.read_text(), options.root)))


if __name__ == "__main__":
    main()
