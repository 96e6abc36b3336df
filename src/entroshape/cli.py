"""The ``entroshape`` command. Heavy libraries are imported only by the command that needs them."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from entroshape.printable import make_output_printable, one_line
from entroshape.stopping import close_process_group, exit_status, stoppable

USAGE = """\
entroshape: credit assignment for LLM reinforcement learning (GTPO, GRPO-S and their baselines)

usage: entroshape COMMAND [options]

commands:
  train    train a model on a task; without options, the bundled model learns Countdown in minutes on a laptop
  eval     sample completions for held-out problems: Mean@n, Pass@k, majority@n with intervals
  compare  train several methods over several seeds: paired differences with intervals
  inspect  show the credit of every token in the terminal
  report   rewrite the report.html of a run

entroshape COMMAND --help lists the options of a command.

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
  entroshape inspect runs/countdown-gtpo-0-1 --show entropy   show every token with its entropy
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. Returns the exit status: 0 success, 1 runtime failure, 2 refused input."""
    make_output_printable()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"train": _train, "eval": _eval, "compare": _compare, "inspect": _inspect, "report": _report}
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if arguments[0] == "--version":
        from entroshape import __version__

        print(__version__)
        return 0
    if arguments[0] not in commands:
        print(f"entroshape: unknown command {arguments[0]!r}; choose from {', '.join(commands)}", file=sys.stderr)
        return 2
    try:
        with stoppable():
            return commands[arguments[0]](arguments[1:])
    except KeyboardInterrupt as stop:
        return exit_status(stop)
    except (ValueError, ImportError, OSError, RuntimeError, MemoryError) as error:
        if os.environ.get("ENTROSHAPE_TRACEBACK"):
            raise
        message = one_line(_reason(error)) or type(error).__name__
        print(f"entroshape: {message}\n(ENTROSHAPE_TRACEBACK=1 shows where)", file=sys.stderr)
        return 2 if isinstance(error, ValueError | ImportError) else 1


def _reason(error: Exception) -> str:
    """The message of an error. For system errors, it begins with the file name and omits the error number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def _train(arguments: list[str]) -> int:
    from entroshape.terminal import PlainConsole
    from entroshape.training.options import parse_train

    config, resume = parse_train(arguments)

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
    from entroshape.terminal import PlainConsole

    config = parse_eval(arguments)

    from entroshape.evaluation.command import run_eval

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
    from entroshape.terminal import PlainConsole

    config, base = parse_compare(arguments)

    from entroshape.experiments.command import run_compare

    console = PlainConsole()
    try:
        run_compare(config, base, console)
    except KeyboardInterrupt:
        console.print("\nstopped; the same command continues from here")
        raise
    return 0


def _inspect(arguments: list[str]) -> int:
    from entroshape.report.inspect import inspect, parse_inspect
    from entroshape.terminal import PlainConsole

    inspect(parse_inspect(arguments), PlainConsole())
    return 0


def _silence_other_bars() -> None:
    """Hides the progress bars of libraries, so that only ours is shown."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.disable_progress_bar()


def _report(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        asked = bool(arguments) and arguments[0] in ("-h", "--help")
        usage = "usage: entroshape report RUN\n\nRewrites RUN/report.html from the files in the run directory."
        print(usage, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    from entroshape.report import write_report

    print(one_line(str(write_report(arguments[0]))))
    return 0
