"""How a task is written, ``kind:name?option=value&option=value``, parsed once for all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

REST = "test"
"""The option whose value is all that follows: it may be the spec of another task, with options of its own."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A task as it is written on a command line."""

    text: str
    """All of it."""

    kind: str
    """What stands before the first colon."""

    name: str = ""
    """What stands between the colon and the question mark: a name, or the path of a file."""

    query: str = ""
    """What follows the question mark."""

    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The options of the query, in order, as text."""


def parse_spec(text: str) -> TaskSpec:
    """A spec in its parts. What they mean is left to the task.

    Raises:
        ValueError: options that are not ``name=value``, joined by ``&``; an option that stands there twice.

    Example:
        >>> spec = parse_spec("math:gsm8k?from=copies/gsm8k&test=math:aime24?from=copies/aime24")
        >>> spec.kind, spec.name, dict(spec.options)
        ('math', 'gsm8k', {'from': 'copies/gsm8k', 'test': 'math:aime24?from=copies/aime24'})
        >>> parse_spec("countdown")
        TaskSpec(text='countdown', kind='countdown', name='', query='', options=mappingproxy({}))
    """
    head, _, query = text.partition("?")
    kind, _, name = head.partition(":")
    options: dict[str, str] = {}
    rest = query
    while rest:
        pair, _, following = (rest, "", "") if rest.startswith(f"{REST}=") else rest.partition("&")
        option, equals, value = pair.partition("=")
        if not (option and equals):
            raise ValueError(f"task {text!r}: options must look like name=value&name=value; got {query!r}")
        if option in options:
            raise ValueError(f"task {text!r}: option {option!r} stands there twice")
        options[option] = value
        rest = following
    return TaskSpec(text=text, kind=kind, name=name, query=query, options=MappingProxyType(options))
