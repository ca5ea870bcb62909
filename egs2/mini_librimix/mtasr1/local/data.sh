#!/usr/bin/env bash
# Stage 1 of the mini recipe: corpus, noise, metadata, mixtures, data directories.
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

librispeech=
wham_noise=
train_subset=train-clean-100
dev_subset=dev-clean
test_subset=test-clean
talker_counts="2 3"
n_train=2000
n_dev=60
n_test=200
noise=both
onset_gap="0.5 1.0"
corpus_options=
noise_options=
on_the_fly=false
follow_links=false
nj=2
seed=1
# shellcheck disable=SC2034 # parse_options.sh prints it
help_message="Usage: local/data.sh [options], in the recipe folder
  --librispeech DIR      LibriSpeech-shaped corpus (default: synthetic, made here)
  --wham_noise DIR       folder with tr/, cv/, tt/ (default: made here)
  --train_subset NAMES   folders of the corpus (${train_subset})
  --dev_subset NAMES     (${dev_subset})
  --test_subset NAMES    (${test_subset})
  --talker_counts \"K..\"  talkers in a mixture (${talker_counts})
  --n_train N            training mixtures per talker count (${n_train})
  --n_dev N              (${n_dev})
  --n_test N             (${n_test})
  --noise KIND           training mixtures: clean, noisy or both, by turns (${noise})
  --onset_gap \"LO HI\"    seconds from one onset to the next (${onset_gap})
  --corpus_options OPTS  for local/corpus/make_mini_librispeech.py
  --noise_options OPTS   for local/corpus/make_mini_noise.py
  --on_the_fly BOOL      write no mixtures, make them while loading (${on_the_fly})
  --follow_links BOOL    true: allow links out of the corpora (${follow_links})
  --nj N                 parallel processes (${nj})
  --seed N               (${seed})"

# shellcheck source=/dev/null # links into TEMPLATE, checked there
. utils/parse_options.sh
# shellcheck source=/dev/null
. ./path.sh

[ $# -eq 0 ] || die "unknown option $1 (see local/data.sh --help)"
# Lists may use commas, because spaces would be split.
train_subset=${train_subset//,/ }
dev_subset=${dev_subset//,/ }
test_subset=${test_subset//,/ }
read -ra counts <<< "${talker_counts//,/ }"
read -ra gap <<< "${onset_gap//,/ }"
read -ra corpus_opts <<< "${corpus_options}"
read -ra noise_opts <<< "${noise_options}"
[ "${#counts[@]}" -gt 0 ] || die "--talker_counts is empty; give counts, for example '2 3'"
for n in "${counts[@]}" "${n_train}" "${n_dev}" "${n_test}" "${nj}"; do
    [[ ${n} =~ ^[1-9][0-9]*$ ]] ||
        die "'${n}' in --talker_counts, --n_train, --n_dev, --n_test or --nj: give numbers from 1"
done
[[ ${seed} =~ ^[0-9]+$ ]] || die "--seed ${seed}: give a number"
[ "${#gap[@]}" -eq 2 ] || die "--onset_gap '${onset_gap}': give two numbers of seconds"
case ${noise} in
    both) train_variant=alternate ;;
    clean | noisy) train_variant=${noise} ;;
    *) die "--noise ${noise}: choose clean, noisy or both" ;;
esac
for dir in "${librispeech}" "${wham_noise}"; do
    [ -z "${dir}" ] || [ -d "${dir}" ] || die "${dir}: no such folder (--librispeech, --wham_noise)"
done

# Description of the data for RESULTS.md.
corpus=${librispeech##*/}
measured_on="mixtures of ${corpus:-the synthetic mini corpus}, onsets ${gap[0]}-${gap[1]} s apart"
if [ -n "${wham_noise}" ]; then measured_on+=", noise of ${wham_noise##*/}"; fi
if [ -z "${librispeech}" ]; then
    librispeech=downloads/LibriSpeech
    log "synthetic speech in ${librispeech}"
    python local/corpus/make_mini_librispeech.py --nj "${nj}" --seed "${seed}" \
        ${corpus_opts[@]+"${corpus_opts[@]}"} downloads
fi
if [ -z "${wham_noise}" ]; then
    wham_noise=downloads/wham_noise
    log "synthetic noise in ${wham_noise}"
    python local/corpus/make_mini_noise.py --seed "${seed}" \
        --tr_subset "${train_subset}" --cv_subset "${dev_subset}" \
        --tt_subset "${test_subset}" ${noise_opts[@]+"${noise_opts[@]}"} \
        "${librispeech}" downloads
fi

metadata=data/local/metadata
metadata_sets=()
audio_sets=()
train_parts=()
dev_parts=()
for k in "${counts[@]}"; do
    metadata_sets+=(--set "train_mini${k}mix" "${train_subset}" tr "${k}" "${n_train}")
    metadata_sets+=(--set "dev_mini${k}mix" "${dev_subset}" cv "${k}" "${n_dev}")
    metadata_sets+=(--set "test_mini${k}mix" "${test_subset}" tt "${k}" "${n_test}")
    audio_sets+=(--set "train_mini${k}mix" "${metadata}/train_mini${k}mix.csv" "${train_variant}")
    for x in dev test; do
        audio_sets+=(--set "${x}_mini${k}mix" "${metadata}/${x}_mini${k}mix.csv" both)
    done
    if [ "${train_variant}" = alternate ]; then
        train_parts+=("train_mini${k}mix")
    else
        train_parts+=("train_mini${k}mix_${train_variant}")
    fi
    dev_parts+=("dev_mini${k}mix_clean" "dev_mini${k}mix_noisy")
done

log "metadata in ${metadata}"
utils/data_job.sh "${nj}" data/local/log/metadata.log \
    python -m espnet_mtasr.bin.make_mixture_metadata \
    --librispeech "${librispeech}" --wham_noise "${wham_noise}" --out "${metadata}" \
    --onsets successive "${gap[@]}" --seed "${seed}" --nj "${nj}" "${metadata_sets[@]}"

case ${on_the_fly} in
    true) log "lists of mixtures, data directories in data" ;;
    false) log "mixtures in data/local/mixtures, data directories in data" ;;
esac
utils/data_job.sh "${nj}" data/local/log/simulate.log \
    python -m espnet_mtasr.bin.simulate \
    --librispeech "${librispeech}" --wham_noise "${wham_noise}" \
    --audio data/local/mixtures --data data --on_the_fly "${on_the_fly}" \
    --follow_links "${follow_links}" --nj "${nj}" "${audio_sets[@]}" \
    --combine train "${train_parts[@]}" --combine dev "${dev_parts[@]}"
printf '%s\n' "${measured_on}" >data/mixtures.txt
log "done"
