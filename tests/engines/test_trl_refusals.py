"""What cannot work is refused when the trainer is built; what replaced our methods is noticed when it runs."""

import ast
import inspect
import json
import types

import pytest
import torch
from tiny import even_sum, rows, tiny_config, tiny_dataset, tiny_model, tiny_tokenizer, tiny_trainer, unmoved
from transformers import HfArgumentParser
from trl import GRPOConfig, GRPOTrainer

from entroshape import DAPO, GTPO
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.engines.trl import ShapedGRPOConfig, ShapedGRPOTrainer
from entroshape.engines.trl.compat import ATTRIBUTES, ATTRIBUTES_IN_TRAINING, MODEL_INPUTS, SEAMS, check_seams
from entroshape.engines.trl.sampling import SamplingTrainer

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("top_p", 0.9),
        ("top_k", 20),
        ("top_k", -1),
        ("top_k", None),
        ("min_p", 0.1),
        ("repetition_penalty", 1.1),
        ("generation_kwargs", {"typical_p": 0.9}),
        ("generation_kwargs", {"suppress_tokens": [3]}),
        ("generation_kwargs", {"logit_bias": {3: -1.0}}),
        ("generation_kwargs", {"temperature": 0.5}),
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_p", 0.1),
        ("typical_p", 0.9),
        ("no_repeat_ngram_size", 2),
        ("suppress_tokens", [5]),
        ("min_new_tokens", 3),
        ("forced_eos_token_id", 2),
        ("guidance_scale", 1.5),
        ("num_beams", 2),
    ],
)
def test_a_model_whose_own_settings_change_the_sampling_policy_is_refused(tmp_path, name, value):
    """transformers would take them from the model where TRL leaves them unset."""
    model = tiny_model()
    setattr(model.generation_config, name, value)
    with pytest.raises(ValueError, match=rf"generation_config\.{name} must be None, got"):
        tiny_trainer(tmp_path, model=model)


def test_what_trl_overrides_in_a_models_own_settings_is_no_obstacle(tmp_path):
    model = tiny_model()
    own = {"temperature": 0.7, "top_p": 0.8, "top_k": 2, "repetition_penalty": 1.05, "no_repeat_ngram_size": 0}
    for name, value in own.items():
        setattr(model.generation_config, name, value)
    sampled = [unmoved(tmp_path, model=each)[1][0].token_ids for each in (model, tiny_model())]
    assert torch.equal(*sampled)


def test_a_group_relative_punishment_needs_the_lengths_of_cut_responses(tmp_path):
    for kind, options in (("group_relative", {}), ("soft", {"max_length": 8, "cache": 4})):
        method_options = {"overlong": {"kind": kind, **options}}
        tiny_config(tmp_path, method_options=method_options)
        if kind == "soft":
            tiny_config(tmp_path, method_options=method_options, mask_truncated_completions=True)
        else:
            with pytest.raises(ValueError, match="mask_truncated_completions=True hides the longest"):
                tiny_config(tmp_path, method_options=method_options, mask_truncated_completions=True)


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
    for name in ("gtpo", "grpo_s", "grpo_s geometric", "grpo", "dapo", "dapo sequence_mean", "opo"):
        config = tiny_config(tmp_path, name)
        found[name] = (config.loss_type, config.importance_sampling_level, config.epsilon, config.epsilon_high)
    assert found == {
        "gtpo": ("dapo", "token", 0.2, 0.28),
        "grpo_s": ("grpo", "token", 0.2, 0.28),
        "grpo_s geometric": ("grpo", "sequence", 0.2, 0.28),
        "grpo": ("grpo", "token", 0.2, 0.2),
        "dapo": ("dapo", "token", 0.2, 0.28),
        "dapo sequence_mean": ("grpo", "token", 0.2, 0.28),
        "opo": ("dapo", "token", 0.2, 0.28),
    }


def test_an_aggregation_that_trl_is_not_given_a_constant_for_is_refused_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(GTPO, "surrogate", property(lambda self: ClippedSurrogate(aggregation="constant")))
    with pytest.raises(ValueError, match=r"aggregation='constant' of method GTPO is not supported in TRL; expected"):
        tiny_config(tmp_path)


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


class InnerLossReplaced(ShapedGRPOTrainer):
    """As a patch of the inner loss leaves it: TRL's."""

    def _compute_loss(self, model, inputs):
        return super(ShapedGRPOTrainer, self)._compute_loss(model, inputs)


@pytest.mark.parametrize("cls", [LossReplaced, CreditReplaced, InnerLossReplaced])
def test_a_trainer_whose_shaping_was_replaced_does_not_train_plain_grpo(tmp_path, cls):
    with pytest.raises(RuntimeError, match="not computed by entroshape"):
        tiny_trainer(tmp_path, cls=cls).train()


def test_methods_replaced_on_a_built_trainer_are_noticed(tmp_path):
    trainer = tiny_trainer(tmp_path)
    trainer._compute_loss = types.MethodType(GRPOTrainer._compute_loss, trainer)
    with pytest.raises(RuntimeError, match="not computed by entroshape"):
        trainer.train()


def names_of_trl():
    """Attributes of ``self`` in our trainer that are neither ours nor public ones of transformers' ``Trainer``."""
    nodes = [
        node
        for cls in (ShapedGRPOTrainer, SamplingTrainer)
        for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(cls))))
    ]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    used, written = set(), set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            (written if isinstance(node.ctx, ast.Store) else used).add(node.attr)
    of_transformers = {"accelerator", "add_callback", "args", "model", "state", "train_dataset"}
    return used - (written - set(ATTRIBUTES)) - own - of_transformers


def test_everything_of_trl_that_the_trainer_touches_is_named_among_its_seams():
    assert names_of_trl() <= {*SEAMS, *ATTRIBUTES, *ATTRIBUTES_IN_TRAINING}


def test_trl_has_every_seam_that_the_engine_stands_on():
    check_seams()


@pytest.mark.parametrize("name", SEAMS)
def test_a_trl_without_a_seam_is_refused_with_a_sentence(name):
    methods = {seam: getattr(GRPOTrainer, seam) for seam in SEAMS if seam != name}
    with pytest.raises(ImportError, match=rf"{name}.*Supported: trl>="):
        check_seams(type("OtherTrainer", (), methods))
    moved = type("OtherTrainer", (), {**methods, name: lambda self: None})
    with pytest.raises(ImportError, match=name):
        check_seams(moved)


def test_trl_has_the_attributes_and_output_keys_that_the_engine_reads(tmp_path):
    trainer = tiny_trainer(tmp_path)
    for name in (
        "_metrics", "_logs", "_tokenizer", "eos_token_ids", "num_generations", "num_iterations", "reward_weights",
        "reward_func_names", "aux_loss_enabled", "temperature", "use_vllm", "vllm_importance_sampling_correction",
        "use_transformers_continuous_batching", "tools", "rollout_func", "environment_factories", "environments",
        "generation_config", "reward_funcs", "_step", "mask_truncated_completions",
    ):  # fmt: skip
        assert hasattr(trainer, name), f"GRPOTrainer.{name} is gone"
    assert {"prompt", "completion", "rewards", "advantages", "extra"} <= set(trainer._logs)
    parameters = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
    assert set(MODEL_INPUTS) <= set(parameters)
    source = inspect.getsource(GRPOTrainer._compute_loss)
    for name in ("old_per_token_logps", "importance_sampling_ratio", "tool_mask", "num_items_in_batch", "advantages",
                 "current_gradient_accumulation_steps", "router_aux_loss_coef", *MODEL_INPUTS):  # fmt: skip
        assert name in source, f"TRL's loss no longer reads {name}"
    ids, mask = GRPOTrainer._generate(trainer, ["1 2"])[1:3]
    assert isinstance(ids[0], list)
    assert mask is None
    output = GRPOTrainer._generate_and_score_completions(trainer, rows(trainer))
    assert {
        "prompt_ids",
        "prompt_mask",
        "completion_ids",
        "completion_mask",
        "advantages",
        "num_items_in_batch",
    } <= set(output)
