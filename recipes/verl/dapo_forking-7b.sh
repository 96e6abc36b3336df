#!/usr/bin/env bash
# DAPO on the 20 % of tokens with the highest entropy (arXiv 2506.01939), on Qwen2.5-7B.
# The paper's settings, and where the data comes from: paper.sh beside this file.
source "$(dirname "$0")/paper.sh"
train dapo_forking-7b algorithm.adv_estimator=dapo_forking "${dynamic_sampling[@]}" "${dapo_overlong[@]}" "${for_7b[@]}" "$@"
