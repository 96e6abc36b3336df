#!/usr/bin/env bash
# GRPO (Eq. 1-2), without dynamic sampling or an overlong punishment, on Qwen2.5-7B.
# paper.sh in this directory has the paper's settings and says where the data comes from.
source "$(dirname "$0")/paper.sh"
train grpo-7b algorithm.adv_estimator=entroshape_grpo "${for_7b[@]}" "$@"
