"""What cannot work is refused when the trainer is built; what replaced our methods is noticed when it runs."""

import json

import pytest
from tiny import even_sum, tiny_config, tiny_dataset, tiny_model, tiny_tokenizer, tiny_trainer
from transformers import HfArgumentParser
from trl import GRPOConfig

from entroshape import DAPO, GTPO
from entroshape.engines.trl import ShapedGRPOConfig, ShapedGRPOTrainer
from entroshape.engines.trl.seams import SEAMS, check_seams


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("top_p", 0.9),
        ("top_k", 20),
        ("min_p", 0.1),
        ("repetition_penalty", 1.1),
        ("generation_kwargs", {"typical_p": 0.9}),
        ("generation_kwargs", {"suppress_tokens": [3]}),
        ("vllm_structured_outputs_regex", "a+"),
        ("scale_rewards", "batch"),
        ("scale_rewards", "none"),
        ("multi_objective_aggregation", "normalize_then_sum"),
        ("top_entropy_quantile", 0.2),
        ("loss_type", "bnpo"),
        ("importance_sampling_level", "sequence"),
        ("epsilon", 0.3),
        ("epsilon_high", 0.4),
        ("entropy_source", "guess"),
        ("max_refills", 0),
        ("method", "gtpoo"),
        ("method_options", {"alpha3": 1}),
        ("method_options", {"alpha2": -1}),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(tmp_path, setting, value):
    with pytest.raises(ValueError, match=setting if setting != "method_options" else "alpha"):
        tiny_config(tmp_path, **{setting: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("beta", 0.1),
        ("delta", 2.0),
        ("off_policy_mask_threshold", 0.5),
        ("entropy_coef", 0.1),
        ("use_adaptive_entropy", True),
    ],
)
def test_what_grpo_s_own_loss_lacks_is_refused(tmp_path, setting, value):
    with pytest.raises(ValueError, match=setting):
        tiny_config(tmp_path, "grpo_s", **{setting: value})


def test_full_support_and_the_methods_own_values_are_accepted(tmp_path):
    config = tiny_config(tmp_path, top_p=1.0, top_k=0, min_p=None, epsilon=0.2, epsilon_high=0.28, loss_type="dapo")
    assert (config.epsilon, config.epsilon_high, config.loss_type) == (0.2, 0.28, "dapo")


def test_a_method_object_and_its_options_do_not_go_together(tmp_path):
    assert tiny_config(tmp_path, method_options=None).method == GTPO()
    assert ShapedGRPOConfig(str(tmp_path), method=DAPO(epsilon_high=0.3), use_cpu=True, bf16=False).epsilon_high == 0.3
    with pytest.raises(ValueError, match="method_options"):
        ShapedGRPOConfig(str(tmp_path), method=DAPO(), method_options={"epsilon_high": 0.3}, use_cpu=True, bf16=False)


def test_the_method_decides_trls_loss(tmp_path):
    found = {}
    for name in ("gtpo", "grpo_s", "grpo_s geometric", "grpo", "dapo"):
        config = tiny_config(tmp_path, name)
        found[name] = (config.loss_type, config.importance_sampling_level, config.epsilon, config.epsilon_high)
    assert found == {
        "gtpo": ("dapo", "token", 0.2, 0.28),
        "grpo_s": ("grpo", "token", 0.2, 0.28),
        "grpo_s geometric": ("grpo", "sequence", 0.2, 0.28),
        "grpo": ("grpo", "token", 0.2, 0.2),
        "dapo": ("dapo", "token", 0.2, 0.28),
    }


def test_dynamic_sampling_is_on_where_the_method_was_published_with_it(tmp_path):
    on = {
        name: tiny_config(tmp_path, name, dynamic_sampling=None).dynamic_sampling for name in ("gtpo", "grpo", "dapo")
    }
    assert on == {"gtpo": True, "grpo": False, "dapo": True}


def test_the_config_survives_json_and_the_argument_parser(tmp_path):
    overlong = {"kind": "soft", "max_length": 8, "cache": 2}
    config = tiny_config(tmp_path, method_options={"alpha2": 0.3, "overlong": overlong})
    plain = json.loads(config.to_json_string())
    assert plain["method"] == "gtpo"
    assert plain["method_options"]["overlong"] == overlong
    again = ShapedGRPOConfig(
        str(tmp_path), method=plain["method"], method_options=plain["method_options"], use_cpu=True, bf16=False
    )
    assert again.method == config.method
    arguments = ["--output_dir", str(tmp_path), "--method", "gtpo", "--method_options", '{"alpha2": 0.3}', "--use_cpu"]
    (parsed,) = HfArgumentParser(ShapedGRPOConfig).parse_args_into_dataclasses([*arguments, "--bf16", "false"])
    assert parsed.method == GTPO(alpha2=0.3)


def test_plain_arguments_are_refused(tmp_path):
    plain = GRPOConfig(str(tmp_path), use_cpu=True, bf16=False)
    with pytest.raises(ValueError, match="ShapedGRPOConfig"):
        ShapedGRPOTrainer(tiny_model(), even_sum, plain, tiny_dataset(), processing_class=tiny_tokenizer())


def test_ligers_fused_loss_is_refused(tmp_path):
    """TRL refuses it by itself; if it stops to, our loss would be bypassed."""
    with pytest.raises((ValueError, ImportError), match=r"[Ll]iger|fused_linear_cross_entropy"):
        tiny_trainer(tmp_path, use_liger_kernel=True, liger_kernel_config={"fused_linear_cross_entropy": True})


class LossReplaced(ShapedGRPOTrainer):
    """As a compiler of trainers leaves it: a loss of its own."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return sum(p.sum() for p in model.parameters()) * 0.0


class CreditReplaced(ShapedGRPOTrainer):
    """As another patch leaves it: TRL's own advantages."""

    def _generate_and_score_completions(self, inputs):
        return super(ShapedGRPOTrainer, self)._generate_and_score_completions(inputs)


@pytest.mark.parametrize("cls", [LossReplaced, CreditReplaced])
def test_a_trainer_whose_shaping_was_replaced_does_not_train_plain_grpo(tmp_path, cls):
    with pytest.raises(RuntimeError, match="not computed by entroshape"):
        tiny_trainer(tmp_path, cls=cls).train()


def test_trl_has_every_seam_that_the_engine_stands_on():
    check_seams()


@pytest.mark.parametrize("name", SEAMS)
def test_a_trl_without_a_seam_is_refused_with_a_sentence(name):
    from trl import GRPOTrainer

    methods = {seam: getattr(GRPOTrainer, seam) for seam in SEAMS if seam != name}
    with pytest.raises(ImportError, match=rf"{name}.*Supported: trl>="):
        check_seams(type("OtherTrainer", (), methods))
    moved = type("OtherTrainer", (), {**methods, name: lambda self: None})
    with pytest.raises(ImportError, match=name):
        check_seams(moved)


def test_trl_has_the_attributes_and_output_keys_that_the_engine_reads(tmp_path):
    from tiny import rows
    from trl import GRPOTrainer

    trainer = tiny_trainer(tmp_path)
    for name in (
        "_metrics", "_logs", "_tokenizer", "eos_token_ids", "num_generations", "num_iterations", "reward_weights",
        "reward_func_names", "aux_loss_enabled", "temperature", "use_vllm", "vllm_importance_sampling_correction",
        "use_transformers_continuous_batching", "tools", "rollout_func", "environment_factories",
    ):  # fmt: skip
        assert hasattr(trainer, name), f"GRPOTrainer.{name} is gone"
    output = GRPOTrainer._generate_and_score_completions(trainer, rows(trainer))
    assert {
        "prompt_ids",
        "prompt_mask",
        "completion_ids",
        "completion_mask",
        "advantages",
        "num_items_in_batch",
    } <= set(output)
