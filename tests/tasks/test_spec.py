"""The grammar of tasks, ``kind:name?option=value``: one parser, a frozen object."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.tasks.spec import parse_spec

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_./-", min_size=1, max_size=12)


@given(kind=WORDS, name=WORDS, options=st.dictionaries(WORDS.filter(lambda word: word != "test"), WORDS, max_size=3))
def test_what_is_written_is_what_is_read(kind, name, options):
    query = "&".join(f"{option}={value}" for option, value in options.items())
    spec = parse_spec(f"{kind}:{name}?{query}" if options else f"{kind}:{name}")
    assert (spec.kind, spec.name, spec.query, dict(spec.options)) == (kind, name, query, options)


def test_test_takes_all_that_follows_as_the_spec_of_another_task():
    spec = parse_spec("math:dapo17k?from=a&test=math:aime24?from=b&x=1")
    assert dict(spec.options) == {"from": "a", "test": "math:aime24?from=b&x=1"}
    assert dict(parse_spec(spec.options["test"]).options) == {"from": "b", "x": "1"}


def test_a_path_may_hold_colons():
    assert parse_spec("jsonl:a:b.jsonl?split=test").name == "a:b.jsonl"


@pytest.mark.parametrize("query", ["x", "=1", "a=1&&b=2", "a=1&b"])
def test_options_of_another_shape_are_refused(query):
    with pytest.raises(ValueError, match="options must look like name=value&name=value; got"):
        parse_spec(f"countdown_search?{query}")


def test_an_option_that_stands_there_twice_is_refused():
    with pytest.raises(ValueError, match="option 'a' is given twice"):
        parse_spec("reasoning_gym:x?a=1&a=2")


def test_a_spec_is_frozen():
    spec = parse_spec("math:gsm8k?from=a")
    with pytest.raises(FrozenInstanceError):
        spec.name = "aime24"
    with pytest.raises(TypeError):
        spec.options["from"] = "b"
