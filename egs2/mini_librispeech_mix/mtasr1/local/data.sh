#!/usr/bin/env bash
# Stage 1: corpora, noise, mixtures of one, two and three talkers, data directories.
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
speechocean762=
noise=made
train_subsets=train-clean-5
ml_dev_talkers=
ml_test_talkers=
talker_counts="1 2 3"
n_train=1200
n_train_so=
n_dev=40
n_test=200
onset_gap="0.5 1.5"
level_gap="-5 5"
synthetic_share=0
synthetic_utts=2000
synthetic_sentences=local/sentences/smollm2.txt
on_the_fly=true
follow_links=false
nj=2
seed=1
# shellcheck disable=SC2034 # parse_options.sh prints it
help_message="Usage: local/data.sh [options], in the recipe folder
  --librispeech DIR        folder with train-clean-5 and, optionally, dev-clean-2
                           (default: downloaded)
  --speechocean762 DIR     folder with train, test and WAVE (default: downloaded); if
                           only one of the two is given, the other is not used
  --noise KIND             made (default), none, or a folder: tr, cv and tt as in
                           WHAM!, or noise recordings, which are then split
  --train_subsets NAMES    LibriSpeech's training subsets (${train_subsets})
  --ml_dev_talkers IDS     LibriSpeech's dev talkers (see lay_out_corpora.py)
  --ml_test_talkers IDS
  --talker_counts \"K..\"    talkers in a mixture (${talker_counts})
  --n_train N              training mixtures per talker count of LibriSpeech (${n_train})
  --n_train_so N           of speechocean762's shorter sentences (twice as many)
  --n_dev N                per corpus and talker count (${n_dev})
  --n_test N               per corpus and talker count (${n_test})
  --onset_gap \"LO HI\"      seconds from one onset to the next (${onset_gap})
  --level_gap \"LO HI\"      dB of each further talker relative to the first (${level_gap})
  --synthetic_share X      synthetic voices' share of the training's sources, from 0
                           (none) to below 1 (${synthetic_share})
  --synthetic_utts N       recordings of them (${synthetic_utts})
  --synthetic_sentences F  what they read, one sentence per line (${synthetic_sentences})
  --on_the_fly BOOL        write no mixtures, make them while loading (${on_the_fly})
  --follow_links BOOL      true: allow links out of the corpora (${follow_links})
  --nj N                   parallel processes (${nj})
  --seed N                 (${seed})"

# shellcheck source=/dev/null # links into TEMPLATE, checked there
. utils/parse_options.sh

[ $# -eq 0 ] || die "unknown option $1 (see local/data.sh --help)"
# Lists may use commas, because spaces would be split.
train_subsets=${train_subsets//,/ }
read -ra counts <<<"${talker_counts//,/ }"
read -ra gap <<<"${onset_gap//,/ }"
read -ra levels <<<"${level_gap//,/ }"
[ "${#counts[@]}" -gt 0 ] || die "--talker_counts is empty; give counts, for example '1 2 3'"
for n in "${counts[@]}" "${n_train}" "${n_train_so:-1}" "${n_dev}" "${n_test}" "${nj}" \
    "${synthetic_utts}"; do
    [[ ${n} =~ ^[1-9][0-9]*$ ]] ||
        die "'${n}' in --talker_counts, --n_train, --n_train_so, --n_dev, --n_test, --nj or" \
            "--synthetic_utts: give numbers from 1"
done
[[ ${synthetic_share} =~ ^0(\.[0-9]+)?$ ]] ||
    die "--synthetic_share ${synthetic_share}: give 0, or a share below 1, for example 0.25"
n_train_so=${n_train_so:-$((2 * n_train))}
[[ ${seed} =~ ^[0-9]+$ ]] || die "--seed ${seed}: give a number"
[ "${#gap[@]}" -eq 2 ] || die "--onset_gap '${onset_gap}': give two numbers of seconds"
[ "${#levels[@]}" -eq 2 ] || die "--level_gap '${level_gap}': give two numbers of dB"
for dir in "${librispeech}" "${speechocean762}"; do
    [ -z "${dir}" ] || [ -d "${dir}" ] ||
        die "${dir}: no such folder (--librispeech, --speechocean762)"
done
case ${noise} in
    made | none) ;;
    *) [ -d "${noise}" ] || die "--noise ${noise}: no such folder; give made, none or a folder" ;;
esac

# shellcheck source=/dev/null
. ./path.sh

speaks=false
if [[ ${synthetic_share} =~ [1-9] ]]; then
    speaks=true
    [ -f "${synthetic_sentences}" ] ||
        die "--synthetic_sentences ${synthetic_sentences}: no such file"
    python local/synthesize_corpus.py --check_engines
fi

if [ -z "${librispeech}${speechocean762}" ]; then
    # shellcheck source=/dev/null
    . ./db.sh
    log "corpora, from db.sh"
    read -ra parts <<<"${train_subsets}"
    md5sums=()
    if [ -n "${CORPORA_MD5SUMS}" ]; then md5sums=(--md5sums "${CORPORA_MD5SUMS}"); fi
    # shellcheck disable=SC2153 # db.sh sets the names in capitals
    python -m espnet_mtasr.bin.download_corpora \
        --parts "${parts[@]}" dev-clean-2 speechocean762 \
        --librispeech "${MINI_LIBRISPEECH}" --librispeech_url "${LIBRISPEECH_URL}" \
        --mini_librispeech "${MINI_LIBRISPEECH}" \
        --mini_librispeech_url "${MINI_LIBRISPEECH_URL}" \
        --speechocean762 "${SPEECHOCEAN762}" \
        --speechocean762_url "${SPEECHOCEAN762_URL}" "${md5sums[@]}"
    librispeech=${MINI_LIBRISPEECH}
    speechocean762=${SPEECHOCEAN762}
    if [ "${librispeech}" = downloads ]; then librispeech=downloads/LibriSpeech; fi
    if [ "${speechocean762}" = downloads ]; then speechocean762=downloads/speechocean762; fi
fi

corpus=data/local/corpus
layout_options=()
option() { # option NAME VALUE: for lay_out_corpora.py, if it is given
    if [ -n "$2" ]; then layout_options+=("--$1" "$2"); fi
}
option librispeech "${librispeech}"
option speechocean762 "${speechocean762}"
option dev_talkers "${ml_dev_talkers//,/ }"
option test_talkers "${ml_test_talkers//,/ }"
log "corpora, trimmed and split by talker, in ${corpus}"
utils/data_job.sh "${nj}" data/local/log/layout.log \
    python local/lay_out_corpora.py --out "${corpus}" \
    --train_subsets "${train_subsets}" --nj "${nj}" "${layout_options[@]}"
names=()
n_real=0
if [ -n "${librispeech}" ]; then
    names+=(ml)
    n_real=${n_train}
fi
if [ -n "${speechocean762}" ]; then
    names+=(so)
    n_real=$((n_real + n_train_so))
fi
if [ "${speaks}" = true ]; then
    # As many mixtures as make up the share.
    n_synthetic=$(awk -v x="${synthetic_share}" -v n="${n_real}" \
        'BEGIN { m = int(x / (1 - x) * n + 0.5); print (m > 0 ? m : 1) }')
    log "synthetic voices, in ${corpus}/train_sy"
    utils/data_job.sh "${nj}" data/local/log/synthesize.log \
        python local/synthesize_corpus.py --corpus "${corpus}" --n "${synthetic_utts}" \
        --sentences "${synthetic_sentences}" --seed "${seed}" --nj "${nj}"
fi

subsets() { # subsets SPLIT: its folders, between blanks
    printf "$1_%s " "${names[@]}"
}
train_noise="tr"
dev_noise="cv"
test_noise="tt"
train_variant=alternate
test_variant=both
wham_noise=data/local/noise
case ${noise} in
    none)
        train_noise=none
        dev_noise=none
        test_noise=none
        train_variant=clean
        test_variant=clean
        ;;
    made)
        wham_noise=data/local/made/wham_noise
        log "synthetic noise in ${wham_noise}"
        mkdir -p data/local/made
        python local/make_mini_noise.py --seed "${seed}" --n_tr 200 --n_cv 24 --n_tt 24 \
            --tr_subset "$(subsets train)" --cv_subset "$(subsets dev)" \
            --tt_subset "$(subsets test)" "${corpus}" data/local/made
        ;;
    *)
        if [ -d "${noise}/tr" ] && [ -d "${noise}/cv" ] && [ -d "${noise}/tt" ]; then
            wham_noise=${noise}
        else
            log "noise of ${noise}, split in ${wham_noise}"
            python local/split_noise.py "${noise}" "${wham_noise}"
            # These links are ours.
            follow_links=true
        fi
        ;;
esac
noise_options=()
if [ "${noise}" != none ]; then noise_options=(--wham_noise "${wham_noise}"); fi

metadata=data/local/metadata
metadata_sets=()
audio_sets=()
train_parts=()
dev_parts=()
add() { # add SET SUBSET NOISE K N VARIANT
    metadata_sets+=(--set "$1" "$2" "$3" "$4" "$5")
    audio_sets+=(--set "$1" "${metadata}/$1.csv" "$6")
}
suffix=
if [ "${train_variant}" != alternate ]; then suffix=_${train_variant}; fi
for k in "${counts[@]}"; do
    for name in "${names[@]}"; do
        n=${n_train}
        if [ "${name}" = so ]; then n=${n_train_so}; fi
        add "train_${name}${k}mix" "train_${name}" "${train_noise}" "${k}" "${n}" "${train_variant}"
        add "dev_${name}${k}mix" "dev_${name}" "${dev_noise}" "${k}" "${n_dev}" "${train_variant}"
        add "test_${name}${k}mix" "test_${name}" "${test_noise}" "${k}" "${n_test}" "${test_variant}"
        train_parts+=("train_${name}${k}mix${suffix}")
        dev_parts+=("dev_${name}${k}mix${suffix}")
    done
    if [ "${speaks}" = true ]; then
        add "train_sy${k}mix" train_sy "${train_noise}" "${k}" "${n_synthetic}" "${train_variant}"
        train_parts+=("train_sy${k}mix${suffix}")
    fi
    if [ -d "${corpus}/test_dc" ]; then
        add "test_dc${k}mix" test_dc "${test_noise}" "${k}" "${n_test}" "${test_variant}"
    fi
done

log "metadata in ${metadata}"
utils/data_job.sh "${nj}" data/local/log/metadata.log \
    python -m espnet_mtasr.bin.make_mixture_metadata \
    --librispeech "${corpus}" ${noise_options[@]+"${noise_options[@]}"} \
    --out "${metadata}" --onsets successive "${gap[@]}" --level_gap "${levels[@]}" \
    --seed "${seed}" --nj "${nj}" "${metadata_sets[@]}"

log "data directories in data"
utils/data_job.sh "${nj}" data/local/log/simulate.log \
    python -m espnet_mtasr.bin.simulate \
    --librispeech "${corpus}" ${noise_options[@]+"${noise_options[@]}"} \
    --audio data/local/mixtures --data data --on_the_fly "${on_the_fly}" \
    --follow_links "${follow_links}" --nj "${nj}" "${audio_sets[@]}" \
    --combine train "${train_parts[@]}" --combine dev "${dev_parts[@]}"
said_of_training=
if [ "${speaks}" = true ]; then
    said_of_training="; in training ${synthetic_share} of the sources are synthetic voices"
fi
# Description of the data for RESULTS.md.
printf '%s\n' "mixtures of Mini LibriSpeech's (ml) and speechocean762's (so) test talkers, none of them in train or dev; onsets ${gap[0]}-${gap[1]} s apart, levels ${levels[0]} to ${levels[1]} dB, noise: ${noise##*/}${said_of_training}" \
    >data/mixtures.txt
log "done"
