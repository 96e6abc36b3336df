"""The syntax of tasks, ``kind:name?option=value&option=value``, parsed in one place for all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

REST = "test"
"""The option whose value is the rest of the text, because it may be the spec of another task with its own options."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A task as it is named on a command line."""

    text: str
    """The whole text."""

    kind: str
    """The part before the first colon."""

    name: str = ""
    """The part between the colon and the question mark: a name, or the path of a file."""

    query: str = ""
    """The part after the question mark."""

    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The options in the query, in order, as text."""


def parse_spec(text: str) -> TaskSpec:
    """Splits a spec into its parts. The task gives them their meaning.

    Raises:
        ValueError: the options are not of the form ``name=value``, joined by ``&``, or an option is given twice.

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
            raise ValueError(f"task {text!r}: option {option!r} is given twice")
        options[option] = value
        rest = following
    return TaskSpec(text=text, kind=kind, name=name, query=query, options=MappingProxyType(options))
