"""Wrong options and values for every command: the arguments, and a word of the option or file that has to be named."""

TRAIN = {
    "steps": ["0", "-1", "1.5", "x", "", "99999999999", "nan", "true"],
    "seed": ["-1", "4294967296", "0.5", "x"],
    "threads": ["0", "-2", "100000", "many"],
    "learning-rate": ["0", "-1", "nan", "inf", "x"],
    "temperature": ["0", "-1", "nan", "inf", "hot"],
    "ema-decay": ["1", "-0.1", "nan", "x"],
    "anchor": ["1", "-1", "inf", "x"],
    "max-grad-norm": ["0", "nan", "x"],
    "num-generations": ["1", "0", "x", "99999999999"],
    "prompts-per-step": ["0", "-8", "x", "99999999999"],
    "updates-per-step": ["0", "3", "x"],
    "micro-batch-size": ["0", "3", "x"],
    "eval-problems": ["0", "x", "99999999999"],
    "eval-samples": ["0", "x"],
    "eval-every": ["-1", "x"],
    "eval-temperatures": ["-1", "x", "0.5,0.5", "inf"],
    "eval-mixtures": ["0", "1", "1.3", "x", "0.5,0.5"],
    "save-every": ["0", "x"],
    "rollouts-every": ["-1", "x"],
    "lora-rank": ["-1", "x"],
    "max-refills": ["0", "x"],
    "warmup-steps": ["-1", "x"],
    "train-size": ["0", "x"],
    "max-completion-length": ["0", "x", "99999999999"],
    "precision": ["fp8", ""],
    "device": ["tpu"],
    "report-to": ["mlflow", "wandb"],
    "old-logprobs": ["none"],
    "dynamic-sampling": ["perhaps"],
    "method": ["gtpoo", "", "GTPO"],
    "task": [
        "nope", "", "jsonl:", "jsonl:nowhere.jsonl", "jsonl:.", "math:aime24", "math:gsm8k?from=nowhere", "math:nope",
        "reasoning_gym:", "reasoning_gym:nope", "reasoning_gym:chain_sum?x=1", "reasoning_gym:chain_sum?min_terms=x",
        ":x", "my module:x", "countdown?x=1", "nosuchmodule:task", "json:loads", "json:nope",
    ],
    "reward": ["x", "x:", "nosuchmodule:f", "os:environ", "os.path:nope", "json:JSONDecodeError"],
    "model": ["./nowhere", "/nowhere", "", ".", "a/b/c", "nosuchuser/nosuchmodel"],
    "config": ["nowhere.yaml", "."],
    "resume": ["nowhere", "."],
    "output": ["full", "full/precious.txt"],
    "stepz": ["3"],
}  # fmt: skip

METHOD_OPTIONS = [
    ("alpha2", "alpha2"), ("=1", "=1"), ("alpha3=1", "alpha3"), ("alpha2=x", "alpha2"), ("alpha2=.nan", "alpha2"),
    ("alpha2=-1", "alpha2"), ("alpha2=[", "["), ("alpha2=true", "alpha2"), ("alpha2=null", "alpha2"),
    ("axis=diagonal", "axis"), ("axis=[1]", "axis"), ("axis={a: 1}", "axis"),
    ("gate=5", "gate"), ("gate=x", "gate"), ("entropy_clip=5", "entropy_clip"), ("entropy_clip=[1]", "entropy_clip"),
    ("entropy_clip=[2, 1]", "entropy_clip"), ("entropy_clip=x", "entropy_clip"), ("entropy_clip={}", "entropy_clip"),
    ("entropy_clip=[a, b]", "entropy_clip"), ("overlong=soft", "overlong"), ("overlong={kind: soft}", "max_length"),
    ("overlong={kind: hard}", "kind"), ("overlong={kind: [1]}", "kind"), ("overlong={}", "kind"),
    ("overlong={kind: soft, max_length: 0, cache: 1}", "max_length"),
    ("overlong={kind: soft, max_length: x, cache: 1}", "max_length"),
    ("overlong={kind: soft, max_length: 9, cache: 99}", "cache"), ("overlong=5", "overlong"),
    ("overlong=[1]", "overlong"), ("overlong={kind: group_relative, gamma1: 2}", "gamma1"),
    ("overlong={kind: group_relative, hard: 5}", "hard"), ("overlong={1: 2, kind: soft}", "overlong"),
    ("overlong={kind: group_relative, hard: {kind: soft}}", "max_length"), ("normalization=none", "normalization"),
    ("mean=x", "mean"), ("failure_reward=.nan", "failure_reward"), ("success_threshold=x", "success_threshold"),
    ("comparison_scope=7", "comparison_scope"), ("entropy_floor=0", "entropy_floor"), ("alpha2=1  1", "alpha2"),
]  # fmt: skip

EVAL = {
    "samples": ["0", "-1", "x", "1.5", "99999999999"],
    "problems": ["0", "x"],
    "batch-size": ["0", "x"],
    "fresh": ["0", "-1", "x"],
    "temperature": ["-1", "nan", "x", "0.5,x", "0.5,0.5", "0.5,-1", ","],
    "max-completion-length": ["0", "x"],
    "seed": ["-1", "x", "4294967296"],
    "precision": ["fp8"],
    "device": ["tpu"],
    "engine": ["sglang", "vllm"],
    "task": ["nope", "", "jsonl:nowhere.jsonl", "math:aime24?from=nowhere", "math:aime2024", "reasoning_gym:nope"],
    "reward": ["x", "nosuchmodule:f", "os:environ"],
    "model": ["./nowhere", ".", "a/b/c", "nosuchuser/nosuchmodel"],
    "output": ["answers.txt", "full"],
    "steps": ["3"],
}

COMPARE = {
    "methods": ["gtpoo", "", "gtpo:alpha3=1", "gtpo:alpha2=x", "gtpo:alpha2=[", "dapo:task=nope", "dapo:model=./typo",
                "dapo:steps=0", "dapo:steps=true", "dapo:seed=3", "gtpo:overlong={kind: soft}"],
    "seeds": ["0", "-1", "x"],
    "first-seed": ["-1", "x", "4294967296"],
    "sweep": ["alpha2", "alpha2=", "nope=1,2", "=1", "alpha2=[1"],
    "baseline": ["grpo", ""],
    "primary": ["best", "mean@3", "above-hull@32", ""],
    "parallel": ["0", "x"],
    "launcher": ["nosuchprogram --flag", "", "'"],
    "output": ["full/precious.txt"],
    "steps": ["0", "x"],
    "task": ["nope"],
    "model": ["./nowhere"],
    "method": ["gtpo"],
    "seed": ["1"],
    "resume": ["full"],
    "config": ["nowhere.yaml"],
    "stepz": ["1"],
}  # fmt: skip

PLAIN = [
    (["trian"], "trian"), (["--trian"], "--trian"), (["report"], "run"), (["report", "a", "b"], "b"),
    (["report", "--now"], "run"), (["report", "full", "--now"], "now"), (["report", "nowhere"], "nowhere"),
    (["report", "full"], "full"),
    (["report", "full/precious.txt"], "precious"), (["inspect"], "run"), (["inspect", "nowhere"], "nowhere"),
    (["inspect", "full"], "full"), (["inspect", "run", "--step", "99"], "step"),
    (["inspect", "run", "--step", "x"], "step"),
    (["inspect", "run", "--step", "-1"], "step"), (["inspect", "run", "--group", "0"], "group"),
    (["inspect", "run", "--group", "999"], "group"), (["inspect", "run", "--show", "reward"], "show"),
    (["inspect", "run", "--responses", "0"], "responses"), (["inspect", "run", "--tokens", "x"], "tokens"),
    (["inspect", "run", "more"], "more"), (["train", "more"], "more"), (["eval", "more"], "more"),
    (["train", "--resume", "run", "--steps", "3"], "--steps"), (["train", "--resume"], "--resume"),
    (["train", "--config", "run/config.yaml", "--steps", "0"], "steps"), (["compare"], "methods"),
    (["compare", "--methods", "dapo", "--task=a\x1b[31mb[/bold]"], "b[/bold]"),
]  # fmt: skip


def wrong_options():
    """Every case: the arguments, and the word."""
    for name, values in TRAIN.items():
        yield from ((["train", f"--{name}", value], name) for value in values)
    yield from ((["train", "--method-options", *option.split("  ")], word) for option, word in METHOD_OPTIONS)
    yield from ((["eval", f"--{name}", value], name) for name, values in EVAL.items() for value in values)
    yield from (
        (["compare", *([] if name == "methods" else ["--methods", "dapo,gtpo"]), f"--{name}", value], name)
        for name, values in COMPARE.items()
        for value in values
    )
    yield from PLAIN
