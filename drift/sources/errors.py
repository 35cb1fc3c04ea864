"""What is wrong with a source, and where."""

from __future__ import annotations


class SourceError(Exception):
    """A source cannot be read, or does not hold what the mapping says.

    >>> str(SourceError("is text, not a time", source="sqlite:///shop.db", table="scored", column="made_at"))
    'sqlite:///shop.db, table scored, column made_at: is text, not a time'
    """

    def __init__(
        self, problem: str, *, source: str | None = None, table: str | None = None, column: str | None = None
    ) -> None:
        places = [source, table and f"table {table}", column and f"column {column}"]
        where = ", ".join(place for place in places if place)
        super().__init__(f"{where}: {problem}" if where else problem)
        self.problem = problem
        self.column = column
