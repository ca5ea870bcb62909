#!/usr/bin/env bash
# Calibrate the confidences and times of a trained model's words, after stage 11: on the
# dev set, and on mixtures of talkers who speak word by word, so that times are known.
# Leaves calibration.json and calibration.md beside the model, which stage 14 packs.
set -euo pipefail

exp=exp/mtasr_phase2             # Folder of the trained model.
model=valid.loss_ctc.ave.pth     # Its checkpoint.
librispeech=downloads/LibriSpeech # The mini corpus of stage 1.
wham_noise=downloads/wham_noise
n_mixtures=100                   # Mixtures of each talker count, for dev and for test.
nj=2
seed=1
help_message="Usage: local/experiments/calibrate.sh [options], after stages 1 to 11 of run.sh
  --exp DIR          folder of the trained model (${exp})
  --model FILE       its checkpoint (${model})
  --librispeech DIR  the mini corpus of stage 1 (${librispeech})
  --wham_noise DIR   its noise (${wham_noise})
  --n_mixtures N     mixtures of each talker count with known word times (${n_mixtures})
  --nj N             parallel processes (${nj})
  --seed N           (${seed})"

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
# shellcheck source=../../utils/recipe.sh
. utils/recipe.sh
# shellcheck source=../../utils/parse_options.sh
. utils/parse_options.sh
# shellcheck source=../../path.sh
. ./path.sh

[ $# -eq 0 ] || die "unknown option $1 (see local/experiments/calibrate.sh --help)"
[ -f "${exp}/${model}" ] || die "${exp}/${model}: no such file; run stage 11 first"
[ -f dump/raw/dev/text ] || die "dump/raw/dev: not there; run stages 1 to 4 first"
[ -d "${librispeech}" ] || die "--librispeech ${librispeech}: no such folder; run stage 1"

placed=data/local/placed
python local/corpus/make_placed_words.py --corpus "${librispeech}" --nj "${nj}" \
    --seed "${seed}" downloads/placed_words
metadata_sets=()
audio_sets=()
dev_parts=()
test_parts=()
for k in 2 3; do
    metadata_sets+=(--set "dev_placed${k}mix" dev-placed cv "${k}" "${n_mixtures}")
    metadata_sets+=(--set "test_placed${k}mix" test-placed tt "${k}" "${n_mixtures}")
    for x in dev test; do
        audio_sets+=(--set "${x}_placed${k}mix" "${placed}/${x}_placed${k}mix.csv" clean)
    done
    dev_parts+=("dev_placed${k}mix_clean")
    test_parts+=("test_placed${k}mix_clean")
done
python -m espnet_mtasr.bin.make_mixture_metadata \
    --librispeech downloads/placed_words/LibriSpeech --wham_noise "${wham_noise}" \
    --out "${placed}" --onsets successive 0.5 1.0 --seed "${seed}" --nj "${nj}" \
    "${metadata_sets[@]}"
python -m espnet_mtasr.bin.simulate \
    --librispeech downloads/placed_words/LibriSpeech --wham_noise "${wham_noise}" \
    --audio "${placed}/mixtures" --data "${placed}" --on_the_fly true --nj "${nj}" \
    "${audio_sets[@]}" --combine dev_placed "${dev_parts[@]}" \
    --combine test_placed "${test_parts[@]}"
python local/experiments/mixture_word_times.py \
    --words downloads/placed_words/LibriSpeech/words.ctm \
    "${placed}/dev_placed" "${placed}/test_placed"

test_sets=()
for folder in dump/raw/test_mini*; do
    test_sets+=("${folder}")
done
python -m espnet_mtasr.bin.calibrate --mtasr_model_file "${exp}/${model}" --trust_remote_code \
    --data_dir dump/raw/dev --times_data_dir "${placed}/dev_placed" \
    --test_data_dirs "${placed}/test_placed" "${test_sets[@]}"
