#!/usr/bin/env bash
# GTPO, alpha1 = 1 and alpha2 = 0.1, with dynamic sampling and the overlong punishment of Appendix D, on Qwen2.5-7B.
# paper.sh in this directory has the paper's settings and says where the data comes from.
source "$(dirname "$0")/paper.sh"
train gtpo-7b algorithm.adv_estimator=gtpo "${dynamic_sampling[@]}" "${group_relative_overlong[@]}" "${for_7b[@]}" "$@"
