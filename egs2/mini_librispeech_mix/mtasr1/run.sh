#!/usr/bin/env bash
# One to three overlapping real talkers: Mini LibriSpeech and speechocean762 mixed,
# starting from Whisper's encoder. Stages 1 to 13 on a CPU in hours, or on one GPU.
set -euo pipefail

help_message="Usage: run.sh [options]
Options of this recipe (lists are separated by commas):
    --preset NAME          cpu (hours on 2 cores) or gpu (one GPU, train-clean-100 too): cpu
    --librispeech DIR      folder with train-clean-5 and, optionally, dev-clean-2
                           (downloaded: SLR31)
    --speechocean762 DIR   folder with train, test and WAVE (downloaded: SLR101); if only
                           one of the two is given, the other is not used
    --noise KIND           made (default), none, or a folder: WHAM!'s (tr, cv, tt), or
                           noise recordings
    --train_subsets NAMES  LibriSpeech's training subsets: train-clean-5
    --ml_dev_talkers IDS   LibriSpeech's dev talkers: 19,32,7312
    --ml_test_talkers IDS  163,1970,2136,3664,4640,7859
    --n_train N            training mixtures per talker count of LibriSpeech: 1200
    --n_train_so N         of speechocean762's shorter sentences: twice as many
    --n_dev N              per corpus and talker count: 40
    --n_test N             200
    --onset_gap LO,HI      seconds from one onset to the next: 0.5,1.5
    --level_gap LO,HI      dB of each further talker relative to the first: -5,5
    --seed N               of mixtures and onsets: 1
    --synthetic_share X    synthetic voices' share of the training's sources, below 1: 0
    --synthetic_utts N     recordings of them: 2000
    --synthetic_sentences FILE  what they read, one sentence per line: SmolLM2's
    --follow_links BOOL    true: allow links out of the corpora
    --encoder NAME         a Whisper: hub id, folder, or whisper_tiny_en or whisper_base
                           from PyPI's wheels: openai/whisper-base
    --llm NAME             train with a teacher, in both phases (none): encoder, Whisper's
                           own decoder; or smollm2, a folder or a hub id: a language model
--stage 14 packs the trained model, --hf_repo OWNER/NAME uploads it, and
--download_model OWNER/NAME (or a zip) decodes and scores with another one.
Options of all stages: --talker_counts COUNTS (1,2,3), --nj N (2), and those of mtasr.sh:
"

MTASR_COMMAND=${MTASR_COMMAND:-$(printf '%q ' ./run.sh "$@")}
export MTASR_COMMAND
called_from=${PWD}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
. utils/recipe.sh

preset=cpu
noise=made
talker_counts=1,2,3
nj=2
encoder=openai/whisper-base
encoder_revision=
llm=
local_data_opts=
download_model=
librispeech=
speechocean762=
own_options=(
    preset librispeech speechocean762 noise train_subsets ml_dev_talkers ml_test_talkers
    n_train n_train_so n_dev n_test onset_gap level_gap seed synthetic_share synthetic_utts
    synthetic_sentences follow_links encoder encoder_revision llm
    talker_counts nj local_data_opts download_model
)
passed_to=./mtasr.sh
. utils/parse_options.sh

case ${llm} in
    '') teacher=ctc ;;
    encoder) teacher=whisper ;;
    *) teacher=llm ;;
esac
skip_phase1=false
phase1_config=conf/tuning/train_phase1_${teacher}_${preset}.yaml
phase2_config=conf/tuning/train_phase2_${teacher}_${preset}.yaml
if [ "${teacher}" = ctc ]; then
    skip_phase1=true
    phase2_config=conf/tuning/train_ctc_${preset}.yaml
    phase1_config=${phase2_config}
fi
case ${preset} in
    cpu)
        preset_options=()
        data_options=()
        ;;
    gpu)
        [ -z "${llm}" ] || die "--llm ${llm}: has no configuration for --preset gpu; omit one of the two"
        preset_options=(--ngpu 1 --gpu_inference true)
        data_options=(--train_subsets "train-clean-5,train-clean-100" --n_train 30000
            --n_train_so 5000)
        ;;
    *) die "--preset ${preset}: choose cpu or gpu" ;;
esac
talker_counts=${talker_counts// /,}
# For local/data.sh, which splits them at spaces.
for option in "${given_options[@]}"; do
    value=${!option}
    case ${option} in
        preset | talker_counts | nj | encoder | encoder_revision | llm | local_data_opts | \
            download_model) continue ;;
        synthetic_sentences) value=$(user_path -f "${option}" "${value}") ;;
        librispeech | speechocean762) value=$(user_path -d "${option}" "${value}") ;;
        noise)
            if [ "${value}" != made ] && [ "${value}" != none ]; then
                value=$(user_path -d noise "${value}")
            fi
            ;;
    esac
    data_options+=("--${option}" "${value// /,}")
done
data_options+=(--talker_counts "${talker_counts}" --nj "${nj}")

corpora=(ml so)
if [ -n "${librispeech}" ] && [ -z "${speechocean762}" ]; then corpora=(ml); fi
if [ -z "${librispeech}" ] && [ -n "${speechocean762}" ]; then corpora=(so); fi
test_sets=
for name in "${corpora[@]}"; do
    for k in ${talker_counts//,/ }; do
        test_sets+=" test_${name}${k}mix_clean"
        if [ "${noise}" != none ]; then test_sets+=" test_${name}${k}mix_noisy"; fi
    done
done

# The known hub commit of this model.
if [ "${encoder}" = openai/whisper-base ]; then
    encoder_revision=${encoder_revision:-e37978b90ca9030d5170a5c07aadb050351a65bb}
fi
run_mtasr \
    --train_set train \
    --valid_set dev \
    --test_sets "${test_sets# }" \
    --local_data_opts "${data_options[*]} ${local_data_opts}" \
    --talker_counts "${talker_counts//,/ }" \
    --nj "${nj}" \
    --inference_nj 2 \
    --nbpe 500 \
    --on_the_fly true \
    --dynamic_mixing true \
    --encoder "$(user_model "${encoder}")" \
    --encoder_revision "${encoder_revision}" \
    --llm "${llm}" \
    --skip_phase1 "${skip_phase1}" \
    --phase1_config "${phase1_config}" \
    --phase2_config "${phase2_config}" \
    --inference_config conf/decode.yaml \
    --model_card conf/model_card.yaml \
    --download_model "$(user_model "${download_model}")" \
    "${preset_options[@]}" \
    "${passed_options[@]}"
