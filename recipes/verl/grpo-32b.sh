#!/usr/bin/env bash
# GRPO (Eq. 1-2), without dynamic sampling or a punishment of overlong responses, on Qwen2.5-32B.
# The paper's settings, and where the data comes from: paper.sh beside this file.
source "$(dirname "$0")/paper.sh"
train grpo-32b algorithm.adv_estimator=entroshape_grpo "${for_32b[@]}" "$@"
