#!/usr/bin/env bash
# GRPO-S, beta1 = 1 and beta2 = 0.1, with dynamic sampling and the overlong punishment of Appendix D, on Qwen2.5-32B.
# paper.sh in this directory has the paper's settings and says where the data comes from.
source "$(dirname "$0")/paper.sh"
train grpo_s-32b algorithm.adv_estimator=grpo_s "${dynamic_sampling[@]}" "${group_relative_overlong[@]}" "${for_32b[@]}" "$@"
