#!/usr/bin/env bash
# Two and three synthetic talkers at once, written down by a model that this run trains:
# stages 1 to 13 on a CPU, with nothing to download but packages.
set -euo pipefail

help_message="Usage: run.sh [options]
Options of this recipe's stage 1 (lists between commas):
    --librispeech DIR      LibriSpeech-shaped corpus instead of the synthetic one
    --wham_noise DIR       WHAM!-shaped noise (tr, cv, tt) instead of the synthetic one
    --train_subset NAMES   its folders: train-clean-100
    --dev_subset NAMES     dev-clean
    --test_subset NAMES    test-clean
    --n_train N            training mixtures per talker count: 2000
    --n_dev N              60
    --n_test N             200
    --noise KIND           training mixtures: clean, noisy or both
    --onset_gap LO,HI      seconds from one onset to the next: 0.5,1.0
    --seed N               seed of corpus and mixtures: 1
A trained model is packed by --stage 14, and uploaded by --hf_repo OWNER/NAME;
--download_model OWNER/NAME (or a zip) decodes and scores with one that others trained.
And for all stages: --talker_counts COUNTS (2,3), --nj N (2), and those of mtasr.sh:
"

# A script that calls this one may have named its own command line.
MTASR_COMMAND=${MTASR_COMMAND:-$(printf '%q ' ./run.sh "$@")}
export MTASR_COMMAND
called_from=${PWD}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

die() {
    echo "run.sh: error: $*" >&2
    exit 2
}

talker_counts=2,3
nj=2
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
        __librispeech | __wham_noise | __train_subset | __dev_subset | __test_subset | \
            __n_train | __n_dev | __n_test | __noise | __onset_gap | __seed | \
            __download_model | __talker_counts | __nj | __local_data_opts)
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
    case ${name} in
        __librispeech | __wham_noise)
            folder=$(cd "${called_from}" && cd -- "${value}" 2>/dev/null && pwd) ||
                die "--${name#__} ${value}: no such folder; give the corpus's"
            case ${folder} in
                *[[:space:]]*) die "--${name#__} ${folder}: has a blank in it; give a link" ;;
            esac
            data_options+=("--${name#__}" "${folder}")
            ;;
        __download_model)
            # A zip or folder is named from where the user is.
            if [ -e "${called_from}/${value}" ]; then value=${called_from}/${value}; fi
            options+=(--download_model "${value}")
            ;;
        __talker_counts) talker_counts=${value// /,} ;;
        __nj) nj=${value} ;;
        __local_data_opts) local_data_opts=${value} ;;
        *) data_options+=("--${name#__}" "${value// /,}") ;;
    esac
done
test_sets=
for k in ${talker_counts//,/ }; do
    test_sets+=" test_mini${k}mix_clean test_mini${k}mix_noisy"
done
data_options+=(--talker_counts "${talker_counts}" --nj "${nj}")

command=(
    ./mtasr.sh
    --train_set train
    --valid_set dev
    --test_sets "${test_sets# }"
    --local_data_opts "${data_options[*]} ${local_data_opts}"
    --talker_counts "${talker_counts//,/ }"
    --nj "${nj}"
    --inference_nj 2
    --nbpe 120
    --max_unalignable 1.0
    --dynamic_mixing true
    --encoder pretrained/encoder
    --llm pretrained/lm
    --phase1_config conf/train_phase1.yaml
    --phase2_config conf/train_phase2.yaml
    --inference_config conf/decode.yaml
    --model_card conf/model_card.yaml
    "${options[@]}"
)
# A mistake must not cost the installation of gigabytes first.
"${command[@]}" --check_options true
utils/prepare_environment.sh
"${command[@]}"
