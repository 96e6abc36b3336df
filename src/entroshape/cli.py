"""The ``entroshape`` command. Heavy libraries are imported only by the command that needs them."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

from entroshape.printable import make_output_printable, one_line
from entroshape.stopping import close_process_group, exit_status, stoppable

EXAMPLES = """\
examples:
  entroshape train                                            train, evaluate and report, on a laptop
  entroshape train --method dapo                              the baseline to compare with
  entroshape train --method-options alpha2=0.5 axis=row       another comparison of entropies
  entroshape train --task reasoning_gym:chain_sum --model HuggingFaceTB/SmolLM2-135M-Instruct --lora-rank 16
  entroshape train --task jsonl:problems.jsonl --reward my_module:my_reward --model ./my-model
  entroshape train --config recipes/gtpo-7b.yaml --steps 50   options from a file, one of them overridden
  entroshape train --resume runs/countdown-gtpo-0-1           resume a run
  entroshape eval --model runs/countdown-gtpo-0-1/model       evaluate the trained model
  entroshape eval --model ./my-model --task math:aime24 --samples 32
  entroshape compare --methods dapo,gtpo,grpo_s --seeds 5     compare methods over seeds
  entroshape merge countdown-tiny runs/countdown-gtpo-0-1/model --weight 0.5,0.7
  entroshape inspect runs/countdown-gtpo-0-1 --show entropy   show every token with its entropy
  entroshape report runs/countdown-gtpo-0-1                   rewrite its report.html
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. Returns the exit status: 0 success, 1 runtime failure, 2 refused input."""
    make_output_printable()
    name, *options = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(_usage(), end="")
        return 0
    if name == "--version":
        from entroshape import __version__

        print(__version__)
        return 0
    if name not in COMMANDS:
        print(f"entroshape: unknown command {name!r}{_nearest(name)} from {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        with stoppable():
            return COMMANDS[name].run(options)
    except KeyboardInterrupt as stop:
        return exit_status(stop)
    except (ValueError, ImportError, OSError, RuntimeError, MemoryError) as error:
        if os.environ.get("ENTROSHAPE_TRACEBACK"):
            raise
        message = one_line(_reason(error)) or type(error).__name__
        print(f"entroshape: {message}\n(ENTROSHAPE_TRACEBACK=1 shows where)", file=sys.stderr)
        return 2 if isinstance(error, ValueError | ImportError) else 1


def _usage() -> str:
    commands = "\n".join(f"  {name:<9}{command.summary}" for name, command in COMMANDS.items())
    return f"""\
entroshape: credit assignment for LLM reinforcement learning (GTPO, GRPO-S and their baselines)

usage: entroshape COMMAND [options]

commands:
{commands}

entroshape COMMAND --help lists the options of a command.

{EXAMPLES}"""


def _nearest(name: str) -> str:
    from entroshape.names import did_you_mean

    near = did_you_mean(name, [*COMMANDS, "--help", "--version"])
    return f"{near} Choose" if near else "; choose"


def _reason(error: Exception) -> str:
    """The message of an error. For system errors, it begins with the file name and omits the error number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def _train(arguments: list[str]) -> int:
    from entroshape.training.options import parse_train

    config, resume = parse_train(arguments)

    from entroshape.terminal import PlainConsole
    from entroshape.training.run import train

    _silence_other_bars()
    console = PlainConsole()
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *place: console.print(f"warning: {message}", soft_wrap=True)
        try:
            train(config, resume=resume, console=console)
        except KeyboardInterrupt:
            if os.environ.get("RANK", "0") == "0":
                console.print(
                    "\nstopped. Continue with: entroshape train --resume RUN (the directory named at the start)"
                )
            raise
        finally:
            close_process_group()
    return 0


def _eval(arguments: list[str]) -> int:
    from entroshape.evaluation.options import parse_eval

    config = parse_eval(arguments)

    from entroshape.evaluation.command import run_eval
    from entroshape.terminal import PlainConsole

    _silence_other_bars()
    console = PlainConsole(stderr=config.json)
    try:
        run_eval(config, console)
    except KeyboardInterrupt:
        console.print("\nstopped; the same command continues from here")
        raise
    return 0


def _compare(arguments: list[str]) -> int:
    from entroshape.experiments.options import parse_compare

    config, base = parse_compare(arguments)

    from entroshape.experiments.command import run_compare
    from entroshape.terminal import PlainConsole

    console = PlainConsole()
    try:
        run_compare(config, base, console)
    except KeyboardInterrupt:
        console.print("\nstopped; the same command continues from here")
        raise
    return 0


def _inspect(arguments: list[str]) -> int:
    from entroshape.report.options import parse_inspect

    config = parse_inspect(arguments)

    from entroshape.report.inspect import inspect
    from entroshape.terminal import PlainConsole

    inspect(config, PlainConsole())
    return 0


def _merge(arguments: list[str]) -> int:
    from entroshape.weights.options import parse_merge

    config = parse_merge(arguments)

    from entroshape.terminal import PlainConsole
    from entroshape.weights.command import run_merge

    _silence_other_bars()
    run_merge(config, PlainConsole())
    return 0


def _silence_other_bars() -> None:
    """Hides the progress bars of libraries, so that only ours is shown."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.disable_progress_bar()


def _report(arguments: list[str]) -> int:
    from entroshape.report.options import parse_report

    config = parse_report(arguments)

    from entroshape.report import write_report

    print(one_line(str(write_report(config.run))))
    return 0


class Command(NamedTuple):
    """A command as ``entroshape --help`` lists it."""

    summary: str
    run: Callable[[list[str]], int]
    """Takes the arguments after the command's name; returns the exit status."""


# tyro reads the options of each command. It does not choose the command, because its subcommands import and build the
# options of all commands: `entroshape --help` took 0.29 s of CPU time instead of 0.05 s, and `eval --help` 0.37 s
# instead of 0.29 s. Importing tyro alone takes 0.1 s.
COMMANDS = {
    "train": Command(
        "train a model on a task; without options, the bundled model learns Countdown in minutes on a laptop", _train
    ),
    "eval": Command("sample completions for held-out problems: Mean@n, Pass@k, majority@n with intervals", _eval),
    "compare": Command("train several methods over several seeds: paired differences with intervals", _compare),
    "merge": Command("write mixtures of the weights of a model before and after training", _merge),
    "inspect": Command("show the credit of every token in the terminal", _inspect),
    "report": Command("rewrite the report.html of a run", _report),
}
