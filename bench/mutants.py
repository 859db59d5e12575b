"""`python -m bench.mutants [MODULE ...] [--most 40] [--seed 1]`: changes one thing at a time in a
parser or a queue state and sees whether a test notices (F07).

Each mutant turns one comparison, arithmetic sign, `and`/`or`, `not`, constant or truth value round;
the module's own tests run against it in a copy of the tree. Printed are the survivors: places that
no test holds, or where the change means nothing. Status 0 whatever survives; it is read by people.
"""

from __future__ import annotations

import argparse
import ast
import copy
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS: dict[str, tuple[str, ...]] = {
    "relay/spool/states.py": ("tests/unit/spool/test_against_a_model.py", "tests/unit/dispatch"),
    "relay/dispatch/destination.py": ("tests/unit/dispatch",),
    "relay/dispatch/fair.py": ("tests/unit/dispatch/test_parts.py",),
    "relay/delivery/schedule.py": ("tests/unit/delivery/test_schedule.py",),
    "relay/delivery/replies.py": ("tests/unit/delivery",),
    "relay/mail/addresses.py": ("tests/unit/mail",),
    "relay/sandbox/faults.py": ("tests/unit/sandbox",),
}
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_SIGNS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult,
}  # fmt: skip
_SECONDS = 300


def changed(node: ast.AST) -> ast.AST | None:
    """Give the node turned round; None where there is nothing to turn."""
    made = copy.deepcopy(node)
    match made:
        case ast.Compare(ops=[one, *_]) if type(one) in _COMPARISONS:
            made.ops[0] = _COMPARISONS[type(one)]()
        case ast.BinOp(op=sign) if type(sign) in _SIGNS:
            made.op = _SIGNS[type(sign)]()
        case ast.BoolOp(op=ast.And()):
            made.op = ast.Or()
        case ast.BoolOp(op=ast.Or()):
            made.op = ast.And()
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return inner
        case ast.Constant(value=bool(truth)):
            made.value = not truth
        case ast.Constant(value=int(number)):
            made.value = number + 1
        case _:
            return None
    return made


class _Replace(ast.NodeTransformer):
    """Puts a node in the place of the nth."""

    def __init__(self, nth: int, other: ast.AST) -> None:
        self._left = nth
        self._other = other

    def visit(self, node: ast.AST) -> ast.AST:
        self._left -= 1
        return self._other if self._left == -1 else self.generic_visit(node)


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Give line, what was changed, and the changed module, for each possible change."""
    tree = ast.parse(source)
    order = _visited(tree)
    for nth, node in enumerate(order):
        other = changed(node)
        if other is not None and hasattr(node, "lineno"):
            made = ast.fix_missing_locations(_Replace(nth, other).visit(copy.deepcopy(tree)))
            yield node.lineno, f"{ast.unparse(node)} -> {ast.unparse(other)}", ast.unparse(made)


def _visited(tree: ast.AST) -> list[ast.AST]:
    found = [tree]
    for child in ast.iter_child_nodes(tree):
        found += _visited(child)
    return found


def survives(copied: Path, module: str, changed_module: str, tests: tuple[str, ...]) -> bool:
    """Run the module's tests against the change; a run that hangs has noticed it."""
    (copied / module).write_text(changed_module, encoding="utf-8")
    pytest = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and arguments
            [*pytest, *tests], cwd=copied, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    """Try mutants of the named modules, of all by default."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutants")
    parser.add_argument("modules", nargs="*", default=sorted(TESTS), metavar="MODULE")
    parser.add_argument("--most", type=int, default=40, help="of one module, chosen by the seed")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waypost-mutants-") as scratch:
        copied = Path(scratch) / "tree"
        copied.mkdir()
        for name in ("relay", "tracking", "bounces", "metrics", "tests", "bench", "deploy", "docs"):
            shutil.copytree(
                ROOT / name, copied / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copy(ROOT / "pyproject.toml", copied)
        for module in options.modules:
            _try(copied, module, options.most, options.seed)


def _try(copied: Path, module: str, most: int, seed: int) -> None:
    source = (ROOT / module).read_text(encoding="utf-8")
    every = list(mutants(source))
    chance = random.Random(seed)  # noqa: S311 - the same choice for the same seed is the point
    chosen = sorted(chance.sample(every, min(most, len(every))))
    left = [m for m in chosen if survives(copied, module, m[2], TESTS[module])]
    (copied / module).write_text(source, encoding="utf-8")
    print(f"{module}: {len(chosen)} of {len(every)} mutants, {len(left)} survive", flush=True)
    for line, what, _ in left:
        print(f"    line {line}: {' '.join(what.split())[:150]}", flush=True)


if __name__ == "__main__":
    main()
