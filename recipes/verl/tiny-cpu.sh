#!/usr/bin/env bash
# GTPO in verl on any machine, without a GPU: a few steps of the bundled model on Countdown, with real Ray workers, in minutes.
# It shows that an installation works and is not meant to be fast. Arguments after the name are passed to verl:
#   recipes/verl/tiny-cpu.sh trainer.total_training_steps=10 +algorithm.entroshape.alpha2=0.2
# WORKERS=2 trains with two workers. Run it from a checkout: recipes/verl/cpu holds the code that verl lacks on a CPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python}
DATA=${DATA:-$PWD/data/verl-countdown}
WORKERS=${WORKERS:-1}
if ! [ -e "$DATA/train.parquet" ]; then
  "$PYTHON" -m entroshape.verl_data --task countdown --bundled-model --test-size 64 --output "$DATA"
fi

export PYTHONPATH="$PWD/recipes/verl/cpu${PYTHONPATH:+:$PYTHONPATH}"
export VERL_USE_EXTERNAL_MODULES=verl_on_cpu VERL_PLATFORM=cpu VERL_ENGINE_DEVICE=cuda
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 RAY_USAGE_STATS_ENABLED=0 HYDRA_FULL_ERROR=1 OMP_NUM_THREADS=1
actor=actor_rollout_ref.actor rollout=actor_rollout_ref.rollout model=actor_rollout_ref.model
exec "$PYTHON" -m verl.trainer.main_ppo \
  trainer.v1.trainer_mode=entroshape_sync algorithm.adv_estimator=gtpo \
  data.train_files="$DATA/train.parquet" data.val_files="$DATA/test.parquet" \
  data.train_batch_size=4 data.val_batch_size=16 data.max_prompt_length=16 data.max_response_length=28 \
  data.dataloader_num_workers=0 data.filter_overlong_prompts=False \
  $model.path="$DATA/model" +$model.override_config.attn_implementation=sdpa \
  $model.use_remove_padding=False $model.enable_gradient_checkpointing=False \
  $actor.strategy=fsdp2 $actor.fsdp_config.strategy=fsdp2 $actor.fsdp_config.use_torch_compile=False \
  "+$actor.fsdp_config.mixed_precision={param_dtype:fp32,reduce_dtype:fp32}" $actor.use_torch_compile=False \
  $actor.ppo_mini_batch_size=2 $actor.ppo_micro_batch_size_per_gpu=8 $actor.optim.lr=1e-4 $actor.use_kl_loss=False \
  $rollout.name=transformers_cpu $rollout.n=8 $rollout.tensor_model_parallel_size=1 $rollout.agent.num_workers=1 \
  $rollout.log_prob_micro_batch_size_per_gpu=16 $rollout.free_cache_engine=False $rollout.calculate_log_probs=True \
  $rollout.prompt_length=16 $rollout.response_length=28 \
  reward.num_workers=1 reward.custom_reward_function.path=pkg://entroshape.verl_data \
  transfer_queue.backend.SimpleStorage.num_data_storage_units=1 \
  transfer_queue.backend.SimpleStorage.total_storage_size=1000 \
  trainer.device=cpu trainer.n_gpus_per_node="$WORKERS" trainer.nnodes=1 trainer.total_epochs=50 \
  trainer.total_training_steps=2 'trainer.logger=["console"]' trainer.val_before_train=False trainer.test_freq=-1 \
  trainer.save_freq=-1 trainer.resume_mode=disable trainer.default_local_dir="$DATA/checkpoints" \
  hydra.run.dir="$DATA/outputs" \
  ray_kwargs.ray_init.num_cpus=8 +ray_kwargs.ray_init.num_gpus="$WORKERS" +ray_kwargs.ray_init.include_dashboard=False \
  "$@"
