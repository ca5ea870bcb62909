#!/usr/bin/env bash
# Two and three synthetic talkers at once, written down by a model that this run trains:
# stages 1 to 13 on a CPU, with nothing to download but packages. All options of
# mtasr.sh (run.sh --help) and, for stage 1, those of local/data.sh named below.
set -euo pipefail
called_from=${PWD}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

# Options of local/data.sh are taken out, the others go to mtasr.sh.
data_options=()
options=()
while [ $# -gt 0 ]; do
    name=${1//-/_}
    case ${name} in
        __librispeech | __wham_noise)
            if [ $# -lt 2 ]; then echo "run.sh: error: $1 needs a folder" >&2; exit 2; fi
            if ! folder=$(cd "${called_from}" && cd -- "$2" 2>/dev/null && pwd); then
                echo "run.sh: error: $1 $2: no such folder; give the corpus's" >&2
                exit 2
            fi
            case ${folder} in
                *[[:space:]]*)
                    echo "run.sh: error: $1 ${folder}: has a blank in it; give a link" >&2
                    exit 2
                    ;;
            esac
            data_options+=("--${name#__}" "${folder}")
            shift 2
            ;;
        __train_subset | __dev_subset | __test_subset | __n_train | __n_dev | __n_test | __noise | __seed)
            if [ $# -lt 2 ]; then echo "run.sh: error: $1 needs a value" >&2; exit 2; fi
            data_options+=("--${name#__}" "$2")
            shift 2
            ;;
        *)
            options+=("$1")
            shift
            ;;
    esac
done

../../../tools/setup.sh

./mtasr.sh \
    --train_set train \
    --valid_set dev \
    --test_sets "test_mini2mix_clean test_mini2mix_noisy test_mini3mix_clean test_mini3mix_noisy" \
    --local_data_opts "${data_options[*]}" \
    --talker_counts "2 3" \
    --nj 2 \
    --inference_nj 2 \
    --nbpe 120 \
    --max_unalignable 1.0 \
    --encoder pretrained/encoder \
    --llm pretrained/lm \
    --phase1_config conf/train_phase1.yaml \
    --phase2_config conf/train_phase2.yaml \
    --inference_config conf/decode.yaml \
    "${options[@]}"
