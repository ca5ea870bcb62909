#!/usr/bin/env bash
# Stage 1: single-talker recordings, split by talker, to mixtures and data directories.
# Runs in the recipe folder; run it again to resume.
set -euo pipefail

# Commands that this script calls end with it.
export MTASR_CALLER=$$

log() {
    echo "$(date '+%Y-%m-%dT%H:%M:%S') (data.sh) $*"
}
die() {
    echo "data.sh: error: $*" >&2
    exit 2
}

corpus=
transcripts=
audio_ending=
max_recordings=
split=
wham_noise=
talker_counts="2 3"
n_train=5000
n_dev=200
n_test=200
dev_talkers=
test_talkers=
onset_gap="0.5 1.5"
on_the_fly=false
nj=2
seed=1
# shellcheck disable=SC2034 # parse_options.sh prints it
help_message="Usage: local/data.sh --corpus DIR [options], in the recipe folder
  --corpus DIR           TALKER/NAME.wav (any rate, any format of libsndfile)
  --transcripts DIR      TALKER/NAME.txt (default: beside the recordings)
  --audio_ending ENDING  of the recordings to use, for example _mic1.flac (default: all)
  --max_recordings N     per talker, the first by name (default: all)
  --split FILE           lines TALKER train|dev|test (default: drawn)
  --wham_noise DIR       noise in WHAM!'s layout (tr, cv, tt): clean and noisy mixtures
  --talker_counts \"K..\"  talkers in a mixture (${talker_counts})
  --n_train N            training mixtures per talker count (${n_train})
  --n_dev N              (${n_dev})
  --n_test N             (${n_test})
  --dev_talkers N        (a tenth of the talkers)
  --test_talkers N       (a tenth of the talkers)
  --onset_gap \"LO HI\"    seconds from one onset to the next (${onset_gap})
  --on_the_fly BOOL      write no mixtures, make them while loading (${on_the_fly})
  --nj N                 parallel processes (${nj})
  --seed N               (${seed})"

# shellcheck source=/dev/null # links into TEMPLATE, checked there
. utils/parse_options.sh

[ $# -eq 0 ] || die "unknown option $1 (see local/data.sh --help)"
[ -n "${corpus}" ] || die "--corpus is missing; give the folder with a folder per talker"
# Lists may use commas, because spaces would be split.
read -ra counts <<<"${talker_counts//,/ }"
read -ra gap <<<"${onset_gap//,/ }"
[ "${#counts[@]}" -gt 0 ] || die "--talker_counts is empty; give counts, for example '2 3'"
for n in "${counts[@]}" "${n_train}" "${n_dev}" "${n_test}" "${nj}" \
    "${dev_talkers:-1}" "${test_talkers:-1}" "${max_recordings:-1}"; do
    [[ ${n} =~ ^[1-9][0-9]*$ ]] ||
        die "'${n}' in --talker_counts, --n_train, --n_dev, --n_test, --dev_talkers," \
            "--test_talkers, --max_recordings or --nj: give numbers from 1"
done
[[ ${seed} =~ ^[0-9]+$ ]] || die "--seed ${seed}: give a number"
[ "${#gap[@]}" -eq 2 ] || die "--onset_gap '${onset_gap}': give two numbers of seconds"

# shellcheck source=/dev/null
. ./path.sh

most=0
for k in "${counts[@]}"; do
    if [ "${k}" -gt "${most}" ]; then most=${k}; fi
done
layout_options=()
option() { # option NAME VALUE: for lay_out_corpus.py, if it is given
    if [ -n "$2" ]; then layout_options+=("--$1" "$2"); fi
}
option transcripts "${transcripts}"
option audio_ending "${audio_ending}"
option max_recordings "${max_recordings}"
option split "${split}"
option dev_talkers "${dev_talkers}"
option test_talkers "${test_talkers}"
laid_out=data/local/corpus
log "${corpus}, split by talker, in ${laid_out}"
utils/data_job.sh "${nj}" data/local/log/layout.log \
    python local/lay_out_corpus.py --corpus "${corpus}" \
    --out "${laid_out}" --min_talkers "${most}" --seed "${seed}" --nj "${nj}" \
    ${layout_options[@]+"${layout_options[@]}"}

train_noise=none
dev_noise=none
test_noise=none
train_variant=clean
test_variant=clean
noise_options=()
if [ -n "${wham_noise}" ]; then
    train_noise="tr"
    dev_noise="cv"
    test_noise="tt"
    train_variant=alternate
    test_variant=both
    noise_options=(--wham_noise "${wham_noise}")
fi
metadata=data/local/metadata
metadata_sets=()
audio_sets=()
train_parts=()
dev_parts=()
for k in "${counts[@]}"; do
    metadata_sets+=(--set "train_own${k}mix" train "${train_noise}" "${k}" "${n_train}")
    metadata_sets+=(--set "dev_own${k}mix" dev "${dev_noise}" "${k}" "${n_dev}")
    metadata_sets+=(--set "test_own${k}mix" test "${test_noise}" "${k}" "${n_test}")
    audio_sets+=(--set "train_own${k}mix" "${metadata}/train_own${k}mix.csv" "${train_variant}")
    for x in dev test; do
        audio_sets+=(--set "${x}_own${k}mix" "${metadata}/${x}_own${k}mix.csv" "${test_variant}")
    done
    dev_parts+=("dev_own${k}mix_clean")
    if [ -n "${wham_noise}" ]; then
        train_parts+=("train_own${k}mix")
        dev_parts+=("dev_own${k}mix_noisy")
    else
        train_parts+=("train_own${k}mix_clean")
    fi
done

log "metadata in ${metadata}"
utils/data_job.sh "${nj}" data/local/log/metadata.log \
    python -m espnet_mtasr.bin.make_mixture_metadata \
    --librispeech "${laid_out}" ${noise_options[@]+"${noise_options[@]}"} \
    --out "${metadata}" --onsets successive "${gap[@]}" --seed "${seed}" --nj "${nj}" \
    "${metadata_sets[@]}"

log "mixtures and data directories in data"
# lay_out_corpus.py has made links to the recordings.
utils/data_job.sh "${nj}" data/local/log/simulate.log \
    python -m espnet_mtasr.bin.simulate \
    --librispeech "${laid_out}" ${noise_options[@]+"${noise_options[@]}"} \
    --audio data/local/mixtures --data data --on_the_fly "${on_the_fly}" \
    --follow_links true --nj "${nj}" "${audio_sets[@]}" \
    --combine train "${train_parts[@]}" --combine dev "${dev_parts[@]}"
# Description of the data for RESULTS.md.
printf '%s\n' "mixtures of ${corpus##*/} (no test talker in train or dev), onsets ${gap[0]}-${gap[1]} s apart" \
    >data/mixtures.txt
log "done"
