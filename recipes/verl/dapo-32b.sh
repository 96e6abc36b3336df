#!/usr/bin/env bash
# DAPO, with dynamic sampling and its own punishment of overlong responses, on Qwen2.5-32B.
# The paper's settings, and where the data comes from: paper.sh beside this file.
source "$(dirname "$0")/paper.sh"
train dapo-32b algorithm.adv_estimator=dapo "${dynamic_sampling[@]}" "${dapo_overlong[@]}" "${for_32b[@]}" "$@"
