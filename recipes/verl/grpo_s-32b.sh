#!/usr/bin/env bash
# GRPO-S, beta1 = 1 and beta2 = 0.1, with dynamic sampling and Appendix D's punishment of overlong responses, on Qwen2.5-32B.
# The paper's settings, and where the data comes from: paper.sh beside this file.
source "$(dirname "$0")/paper.sh"
train grpo_s-32b algorithm.adv_estimator=grpo_s "${dynamic_sampling[@]}" "${group_relative_overlong[@]}" "${for_32b[@]}" "$@"
