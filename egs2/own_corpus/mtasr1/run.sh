#!/usr/bin/env bash
# Your own recordings of single talkers, mixed by two and three; a Conformer from
# scratch, characters: stages 1 to 13 on a CPU or GPUs, with nothing to download but
# packages. README.md explains it.
set -euo pipefail

help_message="Usage: run.sh --corpus DIR [options]
Options of this recipe (lists between commas):
    --corpus DIR           recordings TALKER/NAME.wav, of any rate and of any format that
                           libsndfile reads, with TALKER/NAME.txt
    --transcripts DIR      where TALKER/NAME.txt are, if not beside the recordings
    --audio_ending ENDING  of the recordings to take, as _mic1.flac (all audio)
    --split FILE           lines TALKER train|dev|test (drawn with --seed)
    --dev_talkers N        if drawn: a tenth of the talkers
    --test_talkers N       if drawn: a tenth of the talkers
    --wham_noise DIR       noise in WHAM!'s layout (tr, cv, tt): clean and noisy mixtures
    --n_train N            training mixtures per talker count: 5000
    --n_dev N              200
    --n_test N             200
    --onset_gap LO,HI      seconds from one onset to the next: 0.5,1.5
    --seed N               of talkers, mixtures and onsets: 1
    --llm NAME             train with this teacher, in both phases (none): a folder, a
                           hub id or smollm2
and for all stages: --talker_counts COUNTS (2,3), --nj N (2), and those of mtasr.sh:
"

MTASR_COMMAND=${MTASR_COMMAND:-$(printf '%q ' ./run.sh "$@")}
export MTASR_COMMAND
called_from=${PWD}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
. utils/recipe.sh

corpus=
wham_noise=
talker_counts=2,3
nj=2
llm=
stage=1
skip_data_prep=false
local_data_opts=
own_options=(
    corpus transcripts audio_ending split dev_talkers test_talkers wham_noise n_train
    n_dev n_test onset_gap seed talker_counts nj llm stage skip_data_prep
    local_data_opts
)
passed_to=./mtasr.sh
. utils/parse_options.sh

talker_counts=${talker_counts// /,}
# For local/data.sh, which splits them at blanks.
data_options=()
for option in "${given_options[@]}"; do
    value=${!option}
    case ${option} in
        talker_counts | nj | llm | stage | skip_data_prep | local_data_opts) continue ;;
        corpus | transcripts | wham_noise) value=$(user_path -d "${option}" "${value}") ;;
        split) value=$(user_path -f split "${value}") ;;
    esac
    data_options+=("--${option}" "${value// /,}")
done
if [ -z "${corpus}" ] && [ "${stage}" = 1 ] && [ "${skip_data_prep}" = false ]; then
    die "--corpus is missing; give the folder of your talkers' folders (see run.sh --help)"
fi
test_sets=
for k in ${talker_counts//,/ }; do
    test_sets+=" test_own${k}mix_clean"
    if [ -n "${wham_noise}" ]; then test_sets+=" test_own${k}mix_noisy"; fi
done
data_options+=(--talker_counts "${talker_counts}" --nj "${nj}")

phase2_config=conf/train_phase2.yaml
skip_phase1=true
if [ -n "${llm}" ]; then
    phase2_config=conf/train_phase2_teacher.yaml
    skip_phase1=false
fi
run_mtasr \
    --train_set train \
    --valid_set dev \
    --test_sets "${test_sets# }" \
    --local_data_opts "${data_options[*]} ${local_data_opts}" \
    --talker_counts "${talker_counts//,/ }" \
    --stage "${stage}" \
    --skip_data_prep "${skip_data_prep}" \
    --nj "${nj}" \
    --inference_nj 2 \
    --token_type char \
    --dynamic_mixing true \
    --llm "${llm}" \
    --skip_phase1 "${skip_phase1}" \
    --phase1_config conf/train_phase1.yaml \
    --phase2_config "${phase2_config}" \
    --inference_config conf/decode.yaml \
    "${passed_options[@]}"
