# The settings of the paper's runs (arXiv 2508.04349v6) for verl, shared by the recipes beside this file: 64 GPUs, prompts
# of up to 2048 tokens and responses of up to 4096, 128 prompts x 16 responses a step, one update a step, learning rate
# 1e-6, temperature 1, about 210 steps; trained on DAPO-Math-17k, tested on AIME 2024, AIME 2025 and MATH-500 with 32
# samples a problem. Parallelism, memory and the batching of tokens are ours: fit them to your machines.
#
# The data, once:
#   python scripts/verl_data.py --task "math:dapo17k?test=math:aime24" --output data/dapo17k
#   python scripts/verl_data.py --task math:aime25 --output data/aime25
#   python scripts/verl_data.py --task math:math500 --output data/math500
#
# What follows a recipe's name is passed on to verl and wins: recipes/verl/gtpo-7b.sh trainer.nnodes=1 data.train_batch_size=16
# The weights alpha1, alpha2, beta1 and beta2 are the methods' defaults, which are the paper's: a recipe does not repeat them,
# so that +algorithm.entroshape.alpha2=0.05 can add one of yours. What follows from another setting is taken from it: one update
# a step at any batch size, DAPO's punishment at any length. Two checkpoints of the actor are kept: one of 32B has some 0.4 TB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PYTHON=${PYTHON:-python}
DATA=${DATA:-$PWD/data}
actor=actor_rollout_ref.actor rollout=actor_rollout_ref.rollout model=actor_rollout_ref.model

# Dynamic sampling: prompts whose responses are all right or all wrong are replaced by others.
dynamic_sampling=(algorithm.filter_groups.enable=True algorithm.filter_groups.metric=acc)

# DAPO's punishment of overlong responses: linear over the last 1024 tokens before the limit. The reward manager of that name
# adds it to the scores; entroshape reads the outcome without it and adds it itself, once.
dapo_overlong=(
  reward.reward_manager.name=dapo '+reward.reward_kwargs.max_resp_len=${data.max_response_length}'
  +reward.reward_kwargs.overlong_buffer_cfg.enable=True +reward.reward_kwargs.overlong_buffer_cfg.len=1024
  +reward.reward_kwargs.overlong_buffer_cfg.penalty_factor=1.0 +reward.reward_kwargs.overlong_buffer_cfg.log=False
)

# The paper's own, Appendix D: lengths are judged within the group.
group_relative_overlong=("+algorithm.entroshape.overlong={kind:group_relative,gamma1:0.75}")

# What the sizes need, on 8 GPUs of 80 GB a node.
for_7b=($model.path=Qwen/Qwen2.5-7B $rollout.tensor_model_parallel_size=2 $actor.ppo_max_token_len_per_gpu=24576)
for_32b=(
  $model.path=Qwen/Qwen2.5-32B $rollout.tensor_model_parallel_size=4 $actor.ppo_max_token_len_per_gpu=12288
  $actor.fsdp_config.param_offload=True $actor.fsdp_config.optimizer_offload=True
)

# train NAME OVERRIDE...: a run of that name
train() {
  local name=$1
  shift
  exec "$PYTHON" -m verl.trainer.main_ppo \
    trainer.v1.trainer_mode=entroshape_sync \
    data.train_files="$DATA/dapo17k/train.parquet" \
    data.val_files="[$DATA/dapo17k/test.parquet,$DATA/aime25/test.parquet,$DATA/math500/test.parquet]" \
    data.train_batch_size=128 data.max_prompt_length=2048 data.max_response_length=4096 data.truncation=error \
    data.filter_overlong_prompts=True \
    reward.custom_reward_function.path="$PWD/scripts/verl_data.py" \
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
