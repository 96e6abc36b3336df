#!/usr/bin/env bash
# DAPO, with dynamic sampling and its own overlong punishment, on Qwen2.5-32B.
# paper.sh in this directory has the paper's settings and says where the data comes from.
source "$(dirname "$0")/paper.sh"
train dapo-32b algorithm.adv_estimator=dapo "${dynamic_sampling[@]}" "${dapo_overlong[@]}" "${for_32b[@]}" "$@"
