#!/usr/bin/env bash
# GTPO, alpha1 = 1 and alpha2 = 0.1, with dynamic sampling and Appendix D's punishment of overlong responses, on Qwen2.5-7B.
# The paper's settings, and where the data comes from: paper.sh beside this file.
source "$(dirname "$0")/paper.sh"
train gtpo-7b algorithm.adv_estimator=gtpo "${dynamic_sampling[@]}" "${group_relative_overlong[@]}" "${for_7b[@]}" "$@"
