#!/usr/bin/env bash
# DAPO trained on the 20 % of tokens with the highest entropy (arXiv 2506.01939), on Qwen2.5-32B.
# paper.sh in this directory has the paper's settings and says where the data comes from.
source "$(dirname "$0")/paper.sh"
train dapo_forking-32b algorithm.adv_estimator=dapo_forking "${dynamic_sampling[@]}" "${dapo_overlong[@]}" "${for_32b[@]}" "$@"
