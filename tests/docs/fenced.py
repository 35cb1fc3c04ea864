"""The tutorial's blocks: what it tells a reader to type, and what it shows below."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One shell block, and the output that is shown below it; None where none is."""

    number: int
    commands: str
    shown: str | None

    def matches(self, output: str) -> bool:
        """Whether `output` is as shown; `…` stands for anything, within a line or across several."""
        pattern = ".*?".join(map(re.escape, (self.shown or "").strip().split("…")))
        return re.fullmatch(pattern, output.strip(), flags=re.DOTALL) is not None


def steps(document: Path) -> list[Step]:
    """The document's shell blocks in order.

    Raises:
        ValueError: a block is neither `sh` nor the `output` of one.
    """
    found: list[Step] = []
    for kind, text in _BLOCK.findall(document.read_text(encoding="utf-8")):
        if kind == "sh":
            found.append(Step(len(found) + 1, text, None))
        elif kind == "output" and found and found[-1].shown is None:
            found[-1] = Step(found[-1].number, found[-1].commands, text)
        else:
            raise ValueError(f"a block of {kind!r} below step {len(found)}: give sh, or the output of one")
    return found
