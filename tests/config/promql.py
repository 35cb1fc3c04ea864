"""What a PromQL text names: metrics with their matchers, and the labels that are grouped or joined by.

Not a parser of the language, which `promtool` has: it reads as much as it takes to tell a name that does not exist.
Variables of Grafana (`$window`, `${model:regex}`, `$__rate_interval`) may stand wherever a value or a duration may.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
  | (?P<variable>\$\{[^}]*\}|\$\w+|\[\[\w+\]\])
  | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[a-z]*(?:\d+[a-z]+)*)
  | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<symbol>=~|!~|!=|==|>=|<=|[-+*/%^(){}\[\],=<>@:])
    """,
    re.VERBOSE,
)
_WORDS: Final = frozenset({"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"})
_LABEL_LISTS: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_AGGREGATIONS: Final = frozenset(
    {"sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "quantile", "absent"}
)
_MAKE_LABELS: Final = frozenset({"label_replace", "label_join", "count_values"})
_OPERATORS: Final = frozenset({"=", "!=", "=~", "!~"})


class PromQLError(ValueError):
    """The text cannot be read; the message says where."""


@dataclass(frozen=True)
class Matcher:
    """`label operator "value"`; the operator is =, !=, =~ or !~."""

    label: str
    operator: str
    value: str


@dataclass(frozen=True)
class Selector:
    """A metric's name, or None where only matchers choose, and those matchers."""

    metric: str | None
    matchers: tuple[Matcher, ...] = ()


@dataclass(frozen=True)
class LabelList:
    """`by (a, b)`, `on (a)`, `group_left (c)`…; `selectors` are those of the aggregated expression, or of the whole.

    An aggregation without a list, and `absent`, keep no label: they are `by ()` here.
    """

    keyword: str
    labels: tuple[str, ...]
    selectors: tuple[Selector, ...]


@dataclass(frozen=True)
class Query:
    """Everything one text names. `made` are the labels that it makes itself, as by label_replace."""

    selectors: tuple[Selector, ...]
    label_lists: tuple[LabelList, ...]
    made: frozenset[str]

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics and recording rules that are selected by name."""
        return frozenset(each.metric for each in self.selectors if each.metric is not None)

    @property
    def labels(self) -> frozenset[str]:
        """Every label that is matched, grouped or joined by."""
        matched = {matcher.label for each in self.selectors for matcher in each.matchers}
        return frozenset(matched | {label for each in self.label_lists for label in each.labels})


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


@dataclass
class _Found:
    """Selectors and label lists with the position of their first token."""

    selectors: list[tuple[int, Selector]] = field(default_factory=list)
    lists: list[tuple[int, str, tuple[str, ...]]] = field(default_factory=list)
    plain: list[tuple[int, int]] = field(default_factory=list)
    made: set[str] = field(default_factory=set)


def read_query(text: str) -> Query:
    """Find what `text` names.

    Raises:
        PromQLError: a character, a bracket or a matcher is out of place.
    """
    tokens = list(_tokens(text))
    closing = _pairs(tokens)
    found = _Found()
    index = 0
    while index < len(tokens):
        index = _step(tokens, index, closing, found)
    lists = [
        LabelList(keyword, labels, tuple(_within(found, *_operand(tokens, at, keyword, closing))))
        for at, keyword, labels in found.lists
    ]
    lists += [LabelList("by", (), tuple(_within(found, start, end))) for start, end in found.plain]
    return Query(tuple(each for _, each in found.selectors), tuple(lists), frozenset(found.made))


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise PromQLError(f"cannot read {text[position : position + 20]!r} in {text!r}")
        if match.lastgroup != "space":
            yield _Token(match.lastgroup, match.group(), position)
        position = match.end()


def _pairs(tokens: list[_Token]) -> dict[int, int]:
    """Where each bracket closes, and the other way round."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind == "symbol" and token.text in "([{":
            opened.append(index)
        elif token.kind == "symbol" and token.text in ")]}":
            if not opened or tokens[opened[-1]].text + token.text not in {"()", "[]", "{}"}:
                raise PromQLError(f"{token.text} closes nothing")
            pairs[opened[-1]] = index
            pairs[index] = opened.pop()
    if opened:
        raise PromQLError(f"{tokens[opened[-1]].text} is never closed")
    return pairs


def _step(tokens: list[_Token], index: int, closing: dict[int, int], found: _Found) -> int:
    """Take what begins at `index`; return where to go on."""
    token, following = tokens[index], _text(tokens, index + 1)
    if token.text == "[" and token.kind == "symbol":
        return closing[index] + 1  # a range or a subquery's steps: durations only
    if token.text == "{" and token.kind == "symbol":
        found.selectors.append((index, _selector(None, tokens[index + 1 : closing[index]])))
        return closing[index] + 1
    if token.kind != "name" or token.text.lower() in _WORDS:
        return index + 1
    if token.text.lower() in _LABEL_LISTS:
        return _label_list(tokens, index, closing, found)
    if following == "(" or _is_label_list(following):
        found.made |= _made(tokens, index, closing)
        found.plain += _plain_aggregation(tokens, index, closing)
        return index + 1
    end = closing[index + 1] if following == "{" else index
    found.selectors.append((index, _selector(token.text, tokens[index + 2 : end])))
    return end + 1


def _label_list(tokens: list[_Token], index: int, closing: dict[int, int], found: _Found) -> int:
    if _text(tokens, index + 1) != "(":
        return index + 1  # group_left without a list
    end = closing[index + 1]
    labels = tuple(each.text for each in tokens[index + 2 : end] if each.text != ",")
    found.lists.append((index, tokens[index].text.lower(), labels))
    return end + 1


def _is_label_list(word: str) -> bool:
    """`sum by (a) (x)`: then `sum` is a function; `x and on (a) y` has a word before its list."""
    return word.lower() in {"by", "without"}


def _plain_aggregation(tokens: list[_Token], index: int, closing: dict[int, int]) -> list[tuple[int, int]]:
    """The operand of `sum (x)`, where no list says what is kept."""
    if tokens[index].text.lower() not in _AGGREGATIONS or _text(tokens, index + 1) != "(":
        return []
    end = closing[index + 1]
    return [] if _is_label_list(_text(tokens, end + 1)) else [(index + 1, end)]


def _made(tokens: list[_Token], index: int, closing: dict[int, int]) -> set[str]:
    """The label that label_replace, label_join or count_values writes: the first text among its own arguments."""
    if tokens[index].text not in _MAKE_LABELS or _text(tokens, index + 1) != "(":
        return set()
    at, end = index + 2, closing[index + 1]
    while at < end and tokens[at].kind != "string":
        at = closing[at] + 1 if tokens[at].text in {"(", "{", "["} else at + 1
    return {tokens[at].text[1:-1]}


def _selector(metric: str | None, tokens: list[_Token]) -> Selector:
    matchers = []
    rest = [token for token in tokens if token.text != ","]
    while rest:
        label = rest.pop(0).text.strip("\"'")
        if not rest or rest[0].text not in _OPERATORS:
            metric = label  # {"a.name"}: the name itself, quoted
            continue
        operator = rest.pop(0).text
        if not rest or rest[0].kind not in {"string", "variable"}:
            raise PromQLError(f"{label}{operator} is not followed by a text")
        matchers.append(Matcher(label, operator, rest.pop(0).text[1:-1]))
    return Selector(metric, tuple(matchers))


def _operand(tokens: list[_Token], at: int, keyword: str, closing: dict[int, int]) -> tuple[int, int]:
    """From where to where the list at `at` reaches: an aggregation's operand, for `on` and its like everything."""
    if keyword not in {"by", "without"}:
        return 0, len(tokens)
    after = closing[at + 1] + 1
    if _text(tokens, after) == "(":
        return after, closing[after]  # sum by (a) (x)
    if _text(tokens, at - 1) == ")":
        return closing[at - 1], at - 1  # sum (x) by (a)
    raise PromQLError(f"{keyword} at {tokens[at].at} belongs to no aggregation")


def _within(found: _Found, start: int, end: int) -> Iterator[Selector]:
    return (selector for at, selector in found.selectors if start <= at <= end)


def _text(tokens: list[_Token], index: int) -> str:
    return tokens[index].text if 0 <= index < len(tokens) else ""
