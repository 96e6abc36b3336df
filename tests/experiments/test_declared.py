"""What a comparison declares when it is begun cannot be changed by results, and what is asked later is marked so."""

import json
from dataclasses import replace

import pytest
from frontier_records import compared
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from entroshape.experiments import parse_arms, read_comparison
from entroshape.experiments.command import plan
from entroshape.experiments.declared import Declared, ranges
from entroshape.experiments.frontier import summarize_frontier
from entroshape.experiments.options import parse_compare
from entroshape.experiments.page import page_text, write_page
from entroshape.experiments.primary import declaration_notes, exploratory_arms, primary_rows
from entroshape.experiments.results import write_comparison
from entroshape.experiments.table import comparison_table

pytestmark = pytest.mark.slow

GRID = ["--eval-samples=32", "--eval-temperatures=0.2,0.6,1.0"]


def planned(directory, *arguments):
    return plan(*parse_compare([f"--output={directory}", *arguments]))[0]


def printed(comparison):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(comparison_table(comparison))
    return capture.get()


@pytest.fixture(scope="module")
def finished():
    """Three arms with three finished seeds, and nothing declared."""
    return compared({"dapo": 0.0, "gtpo": 0.15, "grpo": 0.001})


def declared(comparison, **changed):
    values = {"arms": ["dapo", "gtpo", "grpo"], "seeds": [0, 1, 2], "baseline": "dapo", "primary": "above-hull@32"}
    return replace(comparison, declared=Declared(**{**values, **changed}))


def test_the_command_that_begins_a_comparison_declares_it(tmp_path):
    begun = planned(tmp_path, "--methods=dapo,gtpo", "--seeds=3", "--first-seed=5", "--primary=above-hull@32", *GRID)
    assert begun.declared == Declared(arms=["dapo", "gtpo"], seeds=[5, 6, 7], baseline="dapo", primary="above-hull@32")
    plain = planned(tmp_path, "--methods=dapo,gtpo", "--seeds=1")
    assert plain.declared == Declared(arms=["dapo", "gtpo"], seeds=[0], baseline="dapo")


def test_a_declaration_is_kept_in_the_file_and_by_the_commands_that_resume_it(finished, tmp_path):
    write_comparison(declared(finished), tmp_path / "comparison.json")
    assert read_comparison(tmp_path / "comparison.json") == declared(finished)
    for more in ([], ["--primary=above-hull@32"], ["--methods=grpo_s", "--seeds=9"]):
        assert planned(tmp_path, *more).declared == declared(finished).declared


def test_until_there_are_results_a_declaration_is_corrected_and_not_lost(finished, tmp_path):
    empty = replace(declared(finished, primary="mean@32"), records=[], base=replace(finished.base, eval_samples=32))
    write_comparison(empty, tmp_path / "comparison.json")
    assert planned(tmp_path).declared.primary == "mean@32"
    assert planned(tmp_path, "--primary=pass@16").declared.primary == "pass@16"
    assert planned(tmp_path, "--seeds=2").declared.seeds == [0, 1]


@pytest.mark.parametrize("primary", ["above-hull@32", None])
def test_a_primary_metric_that_is_asked_for_after_results_is_refused(finished, tmp_path, primary):
    write_comparison(declared(finished, primary=primary), tmp_path / "comparison.json")
    before = (tmp_path / "comparison.json").read_bytes()
    there = f"the primary metric {primary}" if primary else "no primary metric"
    with pytest.raises(ValueError, match=f"was begun with {there}; got 'mean@32'. .* stays exploratory"):
        planned(tmp_path, "--primary=mean@32")
    assert (tmp_path / "comparison.json").read_bytes() == before


def test_an_older_comparison_has_declared_nothing_and_says_so(finished, tmp_path):
    write_comparison(finished, tmp_path / "comparison.json")
    assert "declared" not in json.loads((tmp_path / "comparison.json").read_text())
    there = planned(tmp_path)
    assert there.declared is None
    assert declaration_notes(there) == ["declared: nothing. All figures are exploratory."]
    assert "declared: nothing" in printed(there)
    with pytest.raises(ValueError, match="was begun with no primary metric"):
        planned(tmp_path, "--primary=mean@32")


def test_the_primary_metric_is_over_the_declared_arms_and_seeds_alone(finished):
    all_of_it = {row.arm: row for row in primary_rows(declared(finished))}
    figures = {each.arm: each.figures for each in summarize_frontier(finished)}
    assert all_of_it["gtpo"].difference == figures["gtpo"]["above-hull@32"].difference
    assert all_of_it.keys() == {"gtpo", "grpo"}
    assert all_of_it["gtpo"].adjusted == figures["gtpo"]["above-hull@32"].adjusted
    fewer = primary_rows(declared(finished, seeds=[0, 1, 8], arms=["dapo", "gtpo"]))
    assert [(row.arm, row.seeds) for row in fewer] == [("gtpo", 2)]
    assert fewer[0].adjusted == fewer[0].difference.p, "an arm that was added must not cost a declared one its p value"
    assert [row.difference.mean for row in primary_rows(declared(finished, primary="mean@32"))] == [0.0, 0.0]
    assert primary_rows(declared(finished, primary=None)) == []


def test_what_was_added_later_is_marked_in_the_table_and_on_the_page(finished, tmp_path):
    comparison = declared(finished, arms=["dapo", "gtpo"], seeds=[0, 1])
    assert exploratory_arms(comparison) == ["grpo"]
    notes = " ".join(declaration_notes(comparison))
    assert (
        "declared when it was begun: arms dapo, gtpo; seeds 0, 1; baseline dapo; primary metric above-hull@32." in notes
    )
    assert "exploratory: arm grpo; seeds 2; all other metrics." in notes
    assert "above-hull@32 against the hull, in percentage points, 95 % interval over seeds: gtpo +" in notes
    assert "grpo (exploratory)" in printed(comparison)
    assert "gtpo (exploratory)" not in printed(comparison)
    assert page_text(comparison)["declared"] == declaration_notes(comparison)
    html = write_page(comparison, tmp_path).read_text()
    assert "Exploratory: arm grpo; seeds 2; all other metrics." in html
    other = replace(comparison, baseline="gtpo")
    assert "baseline gtpo" in declaration_notes(other)[-1]
    assert primary_rows(other) == primary_rows(comparison)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--primary="], "primary must be above-hull@K, .* got ''"),
        (["--primary=best"], "primary must be above-hull@K, .* got 'best'"),
        (
            ["--primary=mean@16", "--eval-samples=32"],
            "primary must be among mean@32 with 32 eval_samples; got 'mean@16'",
        ),
        (["--primary=pass@5"], "primary must be among pass@1, pass@4, pass@16 with"),
        (["--primary=above-hull@16"], "needs several temperatures, such as --eval-temperatures"),
        (["--primary=above-hull@64", *GRID], "primary must be among above-hull@16, above-hull@32 with 32"),
        (["--primary=greedy", *GRID], "primary greedy needs 0 among --eval-temperatures"),
        (["--primary=above-hull-mix-ema@16", *GRID], "needs --eval-mixtures, such as 0.5,0.7 and --ema-decay"),
    ],
)
def test_a_primary_metric_that_no_run_will_have_is_refused_at_the_start(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        planned(tmp_path / "new", "--methods=dapo,gtpo", *options)


@pytest.mark.parametrize(
    "value",
    [
        "dapo",
        {},
        {"arms": ["dapo"], "seeds": [0], "baseline": "dapo", "primary": 3},
        {"arms": "dapo", "seeds": [0], "baseline": "dapo", "primary": None},
        {"arms": ["dapo"], "seeds": [True], "baseline": "dapo", "primary": None},
        {"arms": ["dapo"], "seeds": [0], "baseline": "gtpo", "primary": None},
        {"arms": ["dapo", "opo"], "seeds": [0], "baseline": "dapo", "primary": None},
    ],
)
def test_a_damaged_declaration_is_refused_by_file(finished, value, tmp_path):
    path = tmp_path / "comparison.json"
    write_comparison(finished, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "declared": value}))
    with pytest.raises(ValueError, match=r"comparison\.json is not a valid comparison: .*declared"):
        read_comparison(path)


@given(st.lists(st.integers(0, 30)))
def test_ranges_name_every_number_and_no_other(numbers):
    named = set()
    for part in filter(None, ranges(numbers).split(", ")):
        first, _, last = part.partition(" to ")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == set(numbers)


def test_arms_of_a_new_comparison_are_all_declared(tmp_path):
    begun = planned(tmp_path, "--methods=gtpo", "--sweep=alpha2=0.1,0.5")
    assert begun.declared.arms == [arm.name for arm in parse_arms(["gtpo"], ["alpha2=0.1,0.5"])]
    assert exploratory_arms(begun) == []
