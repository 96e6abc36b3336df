"""What several of the torture tests start from."""

import pytest
from short_runs import EVAL, SMALL

from entroshape.cli import main


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run, and an evaluation, that nothing disturbed."""
    folder = tmp_path_factory.mktemp("reference")
    assert main(["train", *SMALL, f"--output={folder}/run"]) == 0
    assert main([*EVAL, f"--output={folder}/answers.parquet"]) == 0
    return folder
