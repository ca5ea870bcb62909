#!/usr/bin/env bash
# Trains a model for two and three overlapping synthetic talkers: stages 1 to 13 on a
# CPU, with nothing to download but packages.
set -euo pipefail

help_message="Usage: run.sh [options]
Options of this recipe's stage 1 (lists are separated by commas):
    --librispeech DIR      corpus in LibriSpeech's layout instead of the synthetic one
    --wham_noise DIR       noise in WHAM!'s layout (tr, cv, tt) instead of the synthetic one
    --train_subset NAMES   its folders: train-clean-100
    --dev_subset NAMES     dev-clean
    --test_subset NAMES    test-clean
    --n_train N            training mixtures per talker count: 2000
    --n_dev N              60
    --n_test N             200
    --noise KIND           training mixtures: clean, noisy or both
    --onset_gap LO,HI      seconds from one onset to the next: 0.5,1.0
    --seed N               seed of corpus and mixtures: 1
    --follow_links BOOL    true: allow links out of the corpora
--stage 14 packs the trained model, --hf_repo OWNER/NAME uploads it, and
--download_model OWNER/NAME (or a zip) decodes and scores with another one.
Options of all stages: --talker_counts COUNTS (2,3), --nj N (2), and those of mtasr.sh:
"

# A script that calls this one may have set its own command line.
MTASR_COMMAND=${MTASR_COMMAND:-$(printf '%q ' ./run.sh "$@")}
export MTASR_COMMAND
called_from=${PWD}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
. utils/recipe.sh

talker_counts=2,3
nj=2
local_data_opts=
download_model=
own_options=(
    librispeech wham_noise train_subset dev_subset test_subset n_train n_dev n_test
    noise onset_gap seed follow_links talker_counts nj local_data_opts download_model
)
passed_to=./mtasr.sh
. utils/parse_options.sh

talker_counts=${talker_counts// /,}
# For local/data.sh, which splits them at spaces.
data_options=()
for option in "${given_options[@]}"; do
    value=${!option}
    case ${option} in
        talker_counts | nj | local_data_opts | download_model) continue ;;
        librispeech | wham_noise) value=$(user_path -d "${option}" "${value}") ;;
    esac
    data_options+=("--${option}" "${value// /,}")
done
test_sets=
for k in ${talker_counts//,/ }; do
    test_sets+=" test_mini${k}mix_clean test_mini${k}mix_noisy"
done
data_options+=(--talker_counts "${talker_counts}" --nj "${nj}")

run_mtasr \
    --train_set train \
    --valid_set dev \
    --test_sets "${test_sets# }" \
    --local_data_opts "${data_options[*]} ${local_data_opts}" \
    --talker_counts "${talker_counts//,/ }" \
    --nj "${nj}" \
    --inference_nj 2 \
    --nbpe 120 \
    --max_unalignable 1.0 \
    --dynamic_mixing true \
    --encoder pretrained/encoder \
    --llm pretrained/lm \
    --phase1_config conf/train_phase1.yaml \
    --phase2_config conf/train_phase2.yaml \
    --inference_config conf/decode.yaml \
    --model_card conf/model_card.yaml \
    --download_model "$(user_model "${download_model}")" \
    "${passed_options[@]}"
