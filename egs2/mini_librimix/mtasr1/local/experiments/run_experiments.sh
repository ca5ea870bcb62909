#!/usr/bin/env bash
# What the teacher contributes: the trainings of local/experiments/teacher/arms.yaml, on
# the same mixtures, decoded and measured. Run it again to resume.
set -euo pipefail

nj=2               # Trainings side by side, one thread each.
only=              # Names of arms, separated by commas (default: all).
seeds=             # Seeds, separated by commas (default: those of the table).
arms=local/experiments/teacher/arms.yaml
expdir=exp/teacher # Experiments.

help_message="Usage: local/experiments/run_experiments.sh [options]
    --nj ${nj}, --only NAMES, --seeds NUMBERS, --arms FILE, --expdir DIR
(see the top of this script). Prints which arms are done; results are in
EXPDIR/ARM/arm.json."

called_from=${PWD}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
# shellcheck source=../../utils/recipe.sh
. utils/recipe.sh
# shellcheck source=../../utils/parse_options.sh
. utils/parse_options.sh
[ $# -eq 0 ] || die "unknown option $1 (see --help)"
[[ ${nj} =~ ^[1-9][0-9]*$ ]] || die "--nj ${nj}: give a number from 1"
[ -f "${arms}" ] || die "--arms ${arms}: no such file"

utils/prepare_environment.sh
# shellcheck source=../../path.sh
. ./path.sh

read_setting() { # read_setting NAME: of arms.yaml
    sed -n "s/^$1: *//p" "${arms}"
}
# run.sh keeps finished stages.
epochs=$(read_setting drawn_epochs)
drawn=(--drawn_epochs "${epochs}" --cache_trunk true)
if [ ! -f "dump/raw/train_drawn${epochs}/text" ] || [ ! -d exp/models/llm ]; then
    call_run --stage 1 --stop_stage 6 "${drawn[@]}"
fi
stats=exp/mtasr_stats_train_drawn${epochs}
if [ ! -f "${stats}/lists/valid/trunk.scp" ]; then
    call_run --stage 10 --stop_stage 10 --skip_phase1 true "${drawn[@]}" \
        --phase2_tag "train_drawn${epochs}" --phase2_args "--model_conf ctc_weight=1.0"
fi
options=(
    --arms "${arms}" --expdir "${expdir}" --lists "${stats}/lists"
    --tokens data/token_list/bpe_unigram120 --models exp/models
    --sets dev test_mini{2,3}mix_{clean,noisy}
)
if [ -n "${only}" ]; then
    IFS=, read -ra names <<<"${only}"
    options+=(--only "${names[@]}")
fi
if [ -n "${seeds}" ]; then
    IFS=, read -ra numbers <<<"${seeds}"
    options+=(--seeds "${numbers[@]}")
fi
# As mtasr.sh's trainings.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
export PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python OMP_NUM_THREADS=1
[ -f "${expdir}/step_seconds.json" ] || python local/experiments/teacher/step_seconds.py "${options[@]}" \
    --json "${expdir}/step_seconds.json"
python local/experiments/teacher/run_experiments.py --nj "${nj}" "${options[@]}"
