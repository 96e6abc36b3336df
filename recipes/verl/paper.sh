# The settings of the paper's runs (arXiv 2508.04349v6) for verl, shared by the recipes in this directory: 64 GPUs, prompts
# of up to 2048 tokens, completions of up to 4096 tokens, 128 prompts x 16 completions per step, one update per step,
# learning rate 1e-6, temperature 1, about 210 steps. Trains on DAPO-Math-17k; tests on AIME 2024, AIME 2025 and MATH-500
# with 32 completions per problem. Parallelism, memory and token batching are our choices: adapt them to your machines.
#
# Prepare the data once:
#   python -m entroshape.verl_data --task "math:dapo17k?test=math:aime24" --output data/dapo17k
#   python -m entroshape.verl_data --task math:aime25 --output data/aime25
#   python -m entroshape.verl_data --task math:math500 --output data/math500
#
# Arguments after a recipe's name are passed to verl and override the recipe:
#   recipes/verl/gtpo-7b.sh trainer.nnodes=1 data.train_batch_size=16
# The methods' defaults for alpha1, alpha2, beta1 and beta2 are the paper's. The recipes do not repeat them, so that you can
# add your own, such as +algorithm.entroshape.alpha2=0.05. Dependent settings follow the setting they depend on: one update
# per step at any batch size, DAPO's overlong punishment at any length limit. Two checkpoints of the actor are kept; one of a
# 32B model takes about 0.4 TB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PYTHON=${PYTHON:-python}
DATA=${DATA:-$PWD/data}
actor=actor_rollout_ref.actor rollout=actor_rollout_ref.rollout model=actor_rollout_ref.model

# Dynamic sampling: replaces prompts whose completions all succeed or all fail.
dynamic_sampling=(algorithm.filter_groups.enable=True algorithm.filter_groups.metric=acc)

# DAPO's overlong punishment: linear over the last 1024 tokens before the limit. verl's reward manager of that name adds it to
# the scores; entroshape reads the outcome without it and applies the punishment itself, only once.
dapo_overlong=(
  reward.reward_manager.name=dapo '+reward.reward_kwargs.max_resp_len=${data.max_response_length}'
  +reward.reward_kwargs.overlong_buffer_cfg.enable=True +reward.reward_kwargs.overlong_buffer_cfg.len=1024
  +reward.reward_kwargs.overlong_buffer_cfg.penalty_factor=1.0 +reward.reward_kwargs.overlong_buffer_cfg.log=False
)

# The paper's overlong punishment (Appendix D), which judges lengths within the group.
group_relative_overlong=("+algorithm.entroshape.overlong={kind:group_relative,gamma1:0.75}")

# What each model size needs on nodes with 8 GPUs of 80 GB.
for_7b=($model.path=Qwen/Qwen2.5-7B $rollout.tensor_model_parallel_size=2 $actor.ppo_max_token_len_per_gpu=24576)
for_32b=(
  $model.path=Qwen/Qwen2.5-32B $rollout.tensor_model_parallel_size=4 $actor.ppo_max_token_len_per_gpu=12288
  $actor.fsdp_config.param_offload=True $actor.fsdp_config.optimizer_offload=True
)

# train NAME OVERRIDE...: starts a run with that name
train() {
  local name=$1
  shift
  exec "$PYTHON" -m verl.trainer.main_ppo \
    trainer.v1.trainer_mode=entroshape_sync \
    data.train_files="$DATA/dapo17k/train.parquet" \
    data.val_files="[$DATA/dapo17k/test.parquet,$DATA/aime25/test.parquet,$DATA/math500/test.parquet]" \
    data.train_batch_size=128 data.max_prompt_length=2048 data.max_response_length=4096 data.truncation=error \
    data.filter_overlong_prompts=True \
    reward.custom_reward_function.path=pkg://entroshape.verl_data \
    $model.use_remove_padding=True $model.enable_gradient_checkpointing=True \
    $actor.strategy=fsdp2 $actor.optim.lr=1e-6 $actor.ppo_mini_batch_size='${data.train_batch_size}' \
    $actor.use_dynamic_bsz=True $actor.use_kl_loss=False $actor.entropy_coeff=0 \
    $rollout.name=vllm $rollout.n=16 $rollout.temperature=1.0 $rollout.top_p=1.0 $rollout.top_k=-1 \
    $rollout.gpu_memory_utilization=0.7 $rollout.calculate_log_probs=True \
    $rollout.val_kwargs.do_sample=True $rollout.val_kwargs.temperature=1.0 $rollout.val_kwargs.n=32 \
    trainer.nnodes=8 trainer.n_gpus_per_node=8 trainer.total_epochs=100 trainer.total_training_steps=210 \
    trainer.val_before_train=True trainer.test_freq=10 trainer.save_freq=20 trainer.max_actor_ckpt_to_keep=2 \
    trainer.project_name=entroshape trainer.experiment_name="$name" 'trainer.logger=["console"]' \
    "$@"
}
