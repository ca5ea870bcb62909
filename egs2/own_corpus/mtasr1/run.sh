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

die() {
    echo "run.sh: error: $*" >&2
    exit 2
}
# absolute TEST OPTION PATH: a path of the caller's, for data.sh
absolute() {
    local path
    path=$(cd "${called_from}" && realpath -- "$3" 2>/dev/null) || path=$3
    test "$1" "${path}" || die "--$2 $3: no such file or folder"
    case ${path} in
        *[[:space:]]*) die "--$2 ${path}: has a blank in it; give a link without" ;;
    esac
    echo "${path}"
}

corpus=
wham_noise=
talker_counts=2,3
nj=2
llm=
stage=1
skip_data_prep=false
local_data_opts=
data_options=()
options=()
while [ $# -gt 0 ]; do
    name=${1%%=*}
    name=${name//-/_}
    case ${name} in
        __help | _h)
            echo "${help_message}"
            exec ./mtasr.sh --help
            ;;
        __corpus | __transcripts | __audio_ending | __split | __dev_talkers | \
            __test_talkers | __wham_noise | __n_train | __n_dev | __n_test | \
            __onset_gap | __seed | __llm | __talker_counts | __nj | __stage | \
            __skip_data_prep | __local_data_opts)
            if [[ $1 == *=* ]]; then
                value=${1#*=}
                shift
            else
                if [ $# -lt 2 ]; then die "$1 needs a value"; fi
                value=$2
                shift 2
            fi
            ;;
        *)
            options+=("$1")
            shift
            continue
            ;;
    esac
    name=${name#__}
    case ${name} in
        corpus | wham_noise | transcripts)
            value=$(absolute -d "${name}" "${value}")
            data_options+=("--${name}" "${value}")
            printf -v "${name}" '%s' "${value}"
            ;;
        split)
            value=$(absolute -f split "${value}")
            data_options+=(--split "${value}")
            ;;
        talker_counts) talker_counts=${value// /,} ;;
        nj | llm | stage | skip_data_prep | local_data_opts)
            printf -v "${name}" '%s' "${value}"
            ;;
        *) data_options+=("--${name}" "${value// /,}") ;;
    esac
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
command=(
    ./mtasr.sh
    --train_set train
    --valid_set dev
    --test_sets "${test_sets# }"
    --local_data_opts "${data_options[*]} ${local_data_opts}"
    --talker_counts "${talker_counts//,/ }"
    --stage "${stage}"
    --skip_data_prep "${skip_data_prep}"
    --nj "${nj}"
    --inference_nj 2
    --token_type char
    --dynamic_mixing true
    --llm "${llm}"
    --skip_phase1 "${skip_phase1}"
    --phase1_config conf/train_phase1.yaml
    --phase2_config "${phase2_config}"
    --inference_config conf/decode.yaml
    "${options[@]}"
)
# A mistake must not cost the installation of gigabytes first.
"${command[@]}" --check_options true
utils/prepare_environment.sh
"${command[@]}"
