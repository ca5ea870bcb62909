#!/usr/bin/env bash
# LibriMix with two and three talkers, WavLM-Large taught by Llama-3.2-1B: stages 1 to
# 13, from the downloads to RESULTS.md. README.md lists the requirements.
set -euo pipefail

help_message="Usage: run.sh [options]
Options of this recipe (lists are separated by commas):
    --preset day           one GPU of 24 GB for a day: wavlm_base_plus_smollm2_360m on
                           train-clean-100, with fewer passes, --on_the_fly true; other
                           options of this list still apply
    --variant NAME         models and configurations; one of:
        wavlm_large_llama1b (as in the paper, the default), wavlm_large_llama3b;
        without access rights: wavlm_large_smollm2_360m, wavlm_large_smollm2_1.7b,
        wavlm_large_qwen2.5_0.5b, wavlm_base_plus_smollm2_360m (one small GPU),
        whisper_small_smollm2_360m, whisper_large_v3_turbo_smollm2_1.7b (Whisper's
        encoder), conformer_smollm2_360m (from scratch);
        ablations: wavlm_large_no_teacher, and wavlm_large_llama1b with _alpha0.3,
        _alpha0.5, _alpha0.9, _shared_separator, _count_features or _flat_start
    --noise KIND           training mixtures: clean, noisy or both (both); with clean, no
                           noise is downloaded, and noisy sets are made if noise exists
    --on_the_fly BOOL      true: don't write mixtures, make them while loading
    --train_parts NAMES    train-clean-100,train-clean-360
    --single_talker BOOL   true: add the talker count 1, with LibriSpeech's utterances
    --librispeechmix DIR   LibriSpeechMix's lists, decoded and scored as extra sets
    --onsets KIND          auto (the metadata's, or else librimix), librimix (talker 2 at
                           1.0 to 1.5 s, 3 at 2.5 to 3.0 s), none (all at 0, stock
                           LibriMix) or given (by the metadata)
    --seed N               seed of the onsets: 1
    --follow_links BOOL    true: allow links out of the corpora
    --ngpu N               GPUs per machine: 1
    --num_nodes N          machines: 1; batches, learning rate, warm-up and epochs depend on
                           the GPUs and the data (estimates); --phase1_args and
                           --phase2_args change them, for instance \"--max_epoch 20\"
--stage 14 packs the trained model, --hf_repo OWNER/NAME uploads it, and
--download_model OWNER/NAME (or a zip) decodes and scores with another one.
Options of all stages: --nj N (16), and those of mtasr.sh:
"

MTASR_COMMAND=${MTASR_COMMAND:-$(printf '%q ' ./run.sh "$@")}
export MTASR_COMMAND
called_from=${PWD}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
. utils/recipe.sh

preset=
variant=wavlm_large_llama1b
noise=both
on_the_fly=false
train_parts=train-clean-100,train-clean-360
single_talker=false
librispeechmix=
onsets=auto
seed=1
follow_links=false
ngpu=1
num_nodes=1
speed_perturb_factors=
phase1_config=
phase1_args=
phase2_config=
phase2_args=
nj=16
local_data_opts=
encoder=
encoder_revision=
llm=
llm_revision=
download_model=
own_options=(
    preset variant noise on_the_fly train_parts single_talker librispeechmix onsets seed
    follow_links ngpu num_nodes speed_perturb_factors phase1_config phase1_args
    phase2_config phase2_args nj local_data_opts encoder encoder_revision llm llm_revision
    download_model
)
passed_to=./mtasr.sh
. utils/espnet_options.sh
. utils/parse_options.sh
. local/training_plan.sh

phase1_passes=
phase2_passes=
unless_given() { # unless_given OPTION VALUE
    [[ " ${given_options[*]} " == *" $1 "* ]] || printf -v "$1" '%s' "$2"
}
case ${preset} in
    '') ;;
    day)
        unless_given variant wavlm_base_plus_smollm2_360m
        unless_given train_parts train-clean-100
        unless_given on_the_fly true
        phase1_passes=4
        phase2_passes=8
        ;;
    *) die "--preset ${preset}: choose day, or omit it" ;;
esac

# Known hub commits of these models; --encoder_revision and --llm_revision choose others
# (on the hub: "Files and versions", "History").
revision_of() {
    case $1 in
        microsoft/wavlm-large) echo c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c ;;
        microsoft/wavlm-base-plus) echo 4c66d4806a428f2e922ccfa1a962776e232d487b ;;
        openai/whisper-small) echo 973afd24965f72e36ca33b3055d56a652f456b4d ;;
        openai/whisper-large-v3-turbo) echo 41f01f3fe87f28c78e2fbf8b568835947dd65ed9 ;;
        meta-llama/Llama-3.2-1B) echo 4e20de362430cd3b72f300e6b0f18e50e7166e08 ;;
        meta-llama/Llama-3.2-3B) echo 13afe5124825b4f3751f836b40dafda64c1ed062 ;;
        HuggingFaceTB/SmolLM2-360M) echo f8027fd0eaeea54caa13c31d31b9fdc459c38b49 ;;
        HuggingFaceTB/SmolLM2-1.7B) echo effd688a12921b4cc83e3312b6feb579f70f9c71 ;;
        Qwen/Qwen2.5-0.5B) echo 060db6499f32faf8b98477b0a26969ef7d8b9987 ;;
    esac
}

its_phase1_config=conf/train_phase1.yaml
its_phase2_config=conf/train_phase2.yaml
skip_phase1=false
expdir=exp
its_encoder=microsoft/wavlm-large
its_llm=meta-llama/Llama-3.2-1B
case ${variant} in
    wavlm_large_llama1b) ;;
    wavlm_large_llama1b_* | wavlm_large_no_teacher)
        # Ablations of phase 2 share phase 1 with the recipe.
        its_phase2_config=conf/tuning/train_phase2_${variant}.yaml
        ;;
    *)
        its_phase1_config=conf/tuning/train_phase1_${variant}.yaml
        its_phase2_config=conf/tuning/train_phase2_${variant}.yaml
        # Stage 6 can only put one encoder and one LLM into a folder of experiments.
        expdir=exp/${variant}
        ;;
esac
for f in "${its_phase1_config}" "${its_phase2_config}"; do
    [ -f "${f}" ] || die "--variant ${variant}: there is no ${f}; see run.sh --help"
done
case ${variant} in
    wavlm_large_no_teacher)
        its_llm=
        skip_phase1=true
        ;;
    *_llama3b) its_llm=meta-llama/Llama-3.2-3B ;;
    *_smollm2_360m) its_llm=HuggingFaceTB/SmolLM2-360M ;;
    *_smollm2_1.7b) its_llm=HuggingFaceTB/SmolLM2-1.7B ;;
    *_qwen2.5_0.5b) its_llm=Qwen/Qwen2.5-0.5B ;;
esac
case ${variant} in
    wavlm_base_plus_*) its_encoder=microsoft/wavlm-base-plus ;;
    whisper_small_*) its_encoder=openai/whisper-small ;;
    whisper_large_v3_turbo_*) its_encoder=openai/whisper-large-v3-turbo ;;
    conformer_*) its_encoder= ;;
esac
encoder=${encoder:-${its_encoder}}
llm=${llm:-${its_llm}}

case ${noise} in
    clean | noisy | both) ;;
    *) die "--noise ${noise}: choose clean, noisy or both" ;;
esac
case ${onsets} in
    auto | librimix | none | given) ;;
    *) die "--onsets ${onsets}: choose auto, librimix, none or given" ;;
esac
[[ ${ngpu} =~ ^[0-9]+$ ]] || die "--ngpu ${ngpu}: give a number"
[[ ${num_nodes} =~ ^[1-9][0-9]*$ ]] || die "--num_nodes ${num_nodes}: give a number from 1"
train_parts=${train_parts// /,}

# Clean training doesn't need WHAM! (53 GB); if it exists, the noisy sets are made too.
test_noise=both
if [ "${noise}" = clean ]; then
    wham_noise=$(. ./db.sh && echo "${WHAM_NOISE}")
    case ${wham_noise} in
        '' | downloads)
            if [ ! -d downloads/wham_noise ]; then
                test_noise=clean
                log "There is no noise, so the noisy dev and test sets are skipped; to" \
                    "make them, set WHAM_NOISE (db.sh) to WHAM!'s noise"
            fi
            ;;
    esac
fi

talker_counts="2 3"
train_set=train_${noise}
valid_set=dev_${noise}
tag=
if [ "${noise}" != both ]; then tag=_${noise}; fi
case ${train_parts} in
    train-clean-100,train-clean-360 | train-clean-360,train-clean-100) ;;
    train-clean-100 | train-clean-360)
        train_set+=_${train_parts##*-}
        tag+=_${train_parts##*-}
        ;;
    *) die "--train_parts ${train_parts}: LibriMix has train-clean-100 and train-clean-360" ;;
esac
if [ "${single_talker}" = true ]; then
    talker_counts="1 2 3"
    train_set+=_1spk
    valid_set+=_1spk
    tag+=_1spk
fi
test_sets=
for part in dev test; do
    if [ "${single_talker}" = true ]; then test_sets+=" ${part}_libri1"; fi
    for k in 2 3; do
        test_sets+=" ${part}_libri${k}mix_clean"
        if [ "${test_noise}" = both ]; then test_sets+=" ${part}_libri${k}mix_noisy"; fi
    done
done
data_options=(
    --train_set "${train_set}" --valid_set "${valid_set}" --noise "${noise}"
    --test_noise "${test_noise}" --train_parts "${train_parts}"
    --single_talker "${single_talker}" --onsets "${onsets}" --seed "${seed}"
    --follow_links "${follow_links}" --nj "${nj}"
)
if [ -n "${librispeechmix}" ]; then
    folder=$(user_path -d librispeechmix "${librispeechmix}")
    data_options+=(--librispeechmix "${folder}")
    for k in ${talker_counts}; do
        test_sets+=" test_librispeechmix${k}_clean"
    done
fi

# The user's own configuration is not changed.
gpus=$((ngpu > 0 ? ngpu * num_nodes : 1))
hours=$(training_hours "${train_parts}" "${noise}" "${single_talker}")
read -ra factors <<<"${speed_perturb_factors:-1}"
hours=$((hours * ${#factors[@]}))
if [ -z "${phase1_config}" ]; then
    phase1_config=${its_phase1_config}
    plan=$(training_plan "${phase1_config}" "${gpus}" "${hours}" "${phase1_passes}")
    phase1_args="${plan} ${phase1_args}"
fi
if [ -z "${phase2_config}" ]; then
    phase2_config=${its_phase2_config}
    plan=$(training_plan "${phase2_config}" "${gpus}" "${hours}" "${phase2_passes}")
    phase2_args="${plan} ${phase2_args}"
fi
log "GPUs: ${gpus}, about ${hours} h of audio; phase 1: ${phase1_args}; phase 2: ${phase2_args}"

# The config's name without train_, and the training data: RESULTS.md shows it as model.
tag_of() {
    local name
    name=$(basename "$1" .yaml)
    echo "${name#train_}${tag}"
}
options=(
    --train_set "${train_set}"
    --valid_set "${valid_set}"
    --test_sets "${test_sets# }"
    --local_data_opts "${data_options[*]} ${local_data_opts}"
    --talker_counts "${talker_counts}"
    --ngpu "${ngpu}"
    --num_nodes "${num_nodes}"
    --speed_perturb_factors "${speed_perturb_factors}"
    --nj "${nj}"
    --nbpe 1000
    --expdir "${expdir}"
    --encoder "${encoder}"
    --encoder_revision "${encoder_revision:-$(revision_of "${encoder}")}"
    --llm "${llm}"
    --llm_revision "${llm_revision:-$(revision_of "${llm}")}"
    --phase1_config "${phase1_config}"
    --phase1_args "${phase1_args% }"
    --phase1_tag "$(tag_of "${phase1_config}")"
    --phase2_config "${phase2_config}"
    --phase2_args "${phase2_args% }"
    --phase2_tag "$(tag_of "${phase2_config}")"
    --skip_phase1 "${skip_phase1}"
    --inference_config conf/decode.yaml
    --model_card conf/model_card.yaml
    --download_model "$(user_model "${download_model}")"
)
# One job per GPU, so that RTF is measured with one process on each GPU.
if [ "${ngpu}" -gt 0 ]; then options+=(--gpu_inference true --inference_nj "${ngpu}"); fi
if [ "${on_the_fly}" = true ]; then options+=(--on_the_fly true); fi
run_mtasr "${options[@]}" "${passed_options[@]}"
