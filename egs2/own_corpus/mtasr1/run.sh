#!/usr/bin/env bash
# Mixes your own single-talker recordings, two and three at a time, and trains a
# Conformer from scratch on characters: stages 1 to 13 on a CPU or GPUs, with nothing to
# download but packages. README.md explains it.
set -euo pipefail

help_message="Usage: run.sh --corpus DIR [options]
Options of this recipe (lists are separated by commas):
    --corpus DIR           recordings TALKER/NAME.wav, of any rate and any format that
                           libsndfile reads, with TALKER/NAME.txt
    --transcripts DIR      where TALKER/NAME.txt are, if not beside the recordings
    --audio_ending ENDING  of the recordings to use, for example _mic1.flac (all audio)
    --split FILE           lines TALKER train|dev|test (drawn with --seed)
    --dev_talkers N        if drawn: a tenth of the talkers
    --test_talkers N       if drawn: a tenth of the talkers
    --wham_noise DIR       noise in WHAM!'s layout (tr, cv, tt): clean and noisy mixtures
    --n_train N            training mixtures per talker count: 5000
    --n_dev N              200
    --n_test N             200
    --onset_gap LO,HI      seconds from one onset to the next: 0.5,1.5
    --seed N               seed of talkers, mixtures and onsets: 1
    --llm NAME             train with this teacher, in both phases (none): a folder, a
                           hub id or smollm2
    --pretrained_model NAME  start from this trained model: a zip, a folder, a checkpoint,
                           OWNER/NAME on the hub, speech or mini; its parts, units and talker counts are used (none)
    --pretrained_units BOOL  false: make new units, and don't use the model's CTC heads
    --trust_remote_code BOOL  true: allow the model's configuration to name any class (false)
    --quick BOOL           true: run all stages on a few mixtures, in minutes on a CPU, to
                           check that they work (false)
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
encoder=
pretrained_model=
# shellcheck disable=SC2034 # handed on by its name
pretrained_units=true
trust_remote_code=false
quick=false
phase1_config=
phase2_config=
stage=1
skip_data_prep=false
local_data_opts=
own_options=(
    corpus transcripts audio_ending split dev_talkers test_talkers wham_noise n_train
    n_dev n_test onset_gap seed talker_counts nj llm encoder pretrained_model
    pretrained_units trust_remote_code quick phase1_config phase2_config stage
    skip_data_prep local_data_opts
)
passed_to=./mtasr.sh
. utils/espnet_options.sh
. utils/parse_options.sh

talker_counts=${talker_counts// /,}
# For local/data.sh, which splits them at blanks, and those of them that say which
# recordings and mixtures there are.
data_options=()
corpus_options=()
if [ "${quick}" = true ]; then
    data_options=(--n_train 40 --n_dev 10 --n_test 10 --max_recordings 10)
    corpus_options=(--n_train 40 --max_recordings 10)
fi
for option in "${given_options[@]}"; do
    value=${!option}
    case ${option} in
        corpus | transcripts | wham_noise) value=$(user_path -d "${option}" "${value}") ;;
        split) value=$(user_path -f split "${value}") ;;
        audio_ending | dev_talkers | test_talkers | n_train | n_dev | n_test | onset_gap | seed) ;;
        *) continue ;;
    esac
    data_options+=("--${option}" "${value// /,}")
    case ${option} in
        wham_noise | n_dev | n_test) ;;
        *) corpus_options+=("--${option}" "${value// /,}") ;;
    esac
done
if [ -z "${corpus}" ] && [ "${stage}" = 1 ] && [ "${skip_data_prep}" = false ]; then
    die "--corpus is missing; give the folder with a folder per talker (see run.sh --help)"
fi

# mtasr.sh handles parts of a checkpoint, FILE:SOURCE:TARGET.
pretrained_parts=
if [[ ${pretrained_model} == *:* ]]; then
    pretrained_parts=${pretrained_model}
    pretrained_model=
fi
if [ -n "${pretrained_model}" ] && [ -n "${llm}${encoder}" ]; then
    die "--pretrained_model ${pretrained_model}: has an encoder, and trains without a" \
        "teacher; omit --encoder and --llm"
fi
if [ "${stage}" != 1 ] || [ "${skip_data_prep}" = true ]; then corpus=; fi

# A mistake must show before gigabytes are installed.
./mtasr.sh --train_set train --valid_set dev --test_sets test --stage "${stage}" \
    --talker_counts "${talker_counts//,/ }" --nj "${nj}" \
    ${phase1_config:+--phase1_config "${phase1_config}"} \
    ${phase2_config:+--phase2_config "${phase2_config}"} \
    --pretrained_model "${pretrained_parts}" "${passed_options[@]}" --check_options true
utils/prepare_environment.sh

# Plan the training: its initial weights, its settings and, before stage 1, its time.
planned=()
if [ -n "${corpus}${pretrained_model}" ] || [ "${quick}" = true ]; then
    plan_options=(--out data/local/plan)
    for option in pretrained_units trust_remote_code quick; do
        plan_options+=("--${option}" "${!option}")
    done
    for option in llm encoder phase1_config phase2_config; do
        if [ -n "${!option}" ]; then plan_options+=("--${option}" "${!option}"); fi
    done
    if [[ " ${given_options[*]} " == *" talker_counts "* ]]; then
        plan_options+=(--talker_counts "${talker_counts}")
    fi
    if [ -n "${pretrained_model}" ]; then
        plan_options+=(--pretrained_model "$(user_model "${pretrained_model}")")
    fi
    if [ -n "${corpus}" ]; then plan_options+=("${corpus_options[@]}"); fi
    plan_file=$(mktemp)
    trap 'rm -f "${plan_file}"' EXIT
    (. ./path.sh && exec python local/plan.py --options "${plan_file}" "${plan_options[@]}")
    mapfile -t planned <"${plan_file}"
    rm -f "${plan_file}"
    talker_counts=${planned[0]}
    planned=("${planned[@]:1}")
fi

test_sets=
for k in ${talker_counts//,/ }; do
    test_sets+=" test_own${k}mix_clean"
    if [ -n "${wham_noise}" ]; then test_sets+=" test_own${k}mix_noisy"; fi
done
data_options+=(--talker_counts "${talker_counts}" --nj "${nj}")

skip_phase1=true
default_config=conf/train_phase2.yaml
if [ -n "${llm}" ]; then
    skip_phase1=false
    default_config=conf/train_phase2_teacher.yaml
fi
max_unalignable=0.01
# With a few mixtures, a single one is more than 1 % of them.
if [ "${quick}" = true ]; then max_unalignable=0.5; fi
exec ./mtasr.sh \
    --train_set train \
    --valid_set dev \
    --test_sets "${test_sets# }" \
    --local_data_opts "${data_options[*]} ${local_data_opts}" \
    --talker_counts "${talker_counts//,/ }" \
    --stage "${stage}" \
    --skip_data_prep "${skip_data_prep}" \
    --nj "${nj}" \
    --inference_nj 2 \
    --max_unalignable "${max_unalignable}" \
    --token_type char \
    --dynamic_mixing true \
    --llm "${llm}" \
    --encoder "$(user_model "${encoder}")" \
    --pretrained_model "${pretrained_parts}" \
    --trust_remote_code "${trust_remote_code}" \
    --skip_phase1 "${skip_phase1}" \
    --phase1_config "${phase1_config:-conf/train_phase1.yaml}" \
    --phase2_config "${phase2_config:-${default_config}}" \
    --inference_config conf/decode.yaml \
    "${planned[@]}" \
    "${passed_options[@]}"
