#!/usr/bin/env bash
# Stage 1: corpora, onsets, mixtures, data directories. Runs in the recipe folder; run
# it again to resume. LibriMix: Cosentino et al., arXiv 2005.11262.
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

train_set=train_both
valid_set=dev_both
noise=both
test_noise=both
on_the_fly=false
train_parts="train-clean-100 train-clean-360"
single_talker=false
librispeechmix=
onsets=auto
audio_format=flac
follow_links=false
nj=16
seed=1
# shellcheck disable=SC2034 # parse_options.sh prints it
help_message="Usage: local/data.sh [options], in the recipe folder; db.sh has the paths of corpora
  --train_set NAME        data directory of all training mixtures (${train_set})
  --valid_set NAME        data directory for choosing the best checkpoint (${valid_set})
  --noise KIND            mixtures of these two: clean, noisy or both, each twice (${noise})
  --test_noise KIND       dev and test sets: both, or clean, without noise (${test_noise})
  --on_the_fly BOOL       true: write no recordings of mixtures (${on_the_fly})
  --train_parts \"NAMES\"   (${train_parts})
  --single_talker BOOL    true: add LibriSpeech's utterances as single talkers (${single_talker})
  --librispeechmix DIR    folder of LibriSpeechMix's lists, for extra test sets
  --onsets KIND           auto, librimix, none or given (${onsets})
  --audio_format FORMAT   flac or wav (${audio_format})
  --follow_links BOOL     true: allow links out of the corpora (${follow_links})
  --nj N                  parallel processes (${nj})
  --seed N                of the onsets (${seed})"

# shellcheck source=/dev/null # links into TEMPLATE, checked there
. utils/parse_options.sh

[ $# -eq 0 ] || die "unknown option $1 (see local/data.sh --help)"
# Lists may use commas, because spaces would be split.
read -ra parts <<<"${train_parts//,/ }"
[ "${#parts[@]}" -gt 0 ] || die "--train_parts is empty; give train-clean-100"
for part in "${parts[@]}"; do
    case ${part} in
        train-clean-100 | train-clean-360) ;;
        *) die "--train_parts ${part}: LibriMix has train-clean-100 and train-clean-360" ;;
    esac
done
case ${noise} in
    both) variants=(clean noisy) ;;
    clean | noisy) variants=("${noise}") ;;
    *) die "--noise ${noise}: choose clean, noisy or both" ;;
esac
case ${test_noise} in
    both) ;;
    clean) [ "${noise}" = clean ] || die "--test_noise clean: needs --noise clean" ;;
    *) die "--test_noise ${test_noise}: choose both or clean" ;;
esac
case ${onsets} in
    auto | librimix)
        begins="talker 2 begins at 1.0 to 1.5 s, talker 3 at 2.5 to 3.0 s, seed ${seed}"
        ;;
    none) begins="all begin at 0" ;;
    given) begins="onsets from the metadata" ;;
    *) die "--onsets ${onsets}: choose auto, librimix, none or given" ;;
esac
case ${audio_format} in
    flac | wav) ;;
    *) die "--audio_format ${audio_format}: choose flac or wav" ;;
esac
[[ ${nj} =~ ^[1-9][0-9]*$ ]] || die "--nj ${nj}: give a number from 1"
[[ ${seed} =~ ^[0-9]+$ ]] || die "--seed ${seed}: give a number"

lists=
if [ -n "${librispeechmix}" ]; then
    for folder in "${librispeechmix}" "${librispeechmix}/list"; do
        if [ -f "${folder}/test-clean-2mix.jsonl" ]; then lists=${folder}; fi
    done
    [ -n "${lists}" ] ||
        die "--librispeechmix ${librispeechmix}: neither it nor its folder list has" \
            "test-clean-2mix.jsonl; give the folder of LibriSpeechMix's lists"
fi

# shellcheck source=/dev/null
. ./path.sh
# shellcheck source=/dev/null
. ./db.sh

corpora=("${parts[@]}" dev-clean test-clean librimix_metadata)
if [ "${test_noise}" = both ]; then corpora+=(wham_noise); fi
local/download.sh --parts "${corpora[@]}"
# folder_of VARIABLE DOWNLOADED: where a corpus is, by db.sh
folder_of() {
    case ${!1} in
        '' | downloads) echo "downloads/$2" ;;
        *) echo "${!1}" ;;
    esac
}
librispeech=$(folder_of LIBRISPEECH LibriSpeech)
wham_noise=$(folder_of WHAM_NOISE wham_noise)
metadata=$(folder_of LIBRIMIX_METADATA librimix_metadata)

csv_of() { # csv_of K PART
    echo "Libri$1Mix/libri$1mix_$2.csv"
}
if [ "${onsets}" != given ]; then
    with_onsets=data/local/metadata
    log "onsets (${begins}) in ${with_onsets}"
    policy=(--onsets "${onsets}")
    if [ "${onsets}" = auto ]; then policy=(--onsets librimix --keep); fi
    kept=
    drawn=false
    for k in 2 3; do
        csvs=()
        for part in "${parts[@]}" dev-clean test-clean; do
            csvs+=("${metadata}/$(csv_of "${k}" "${part}")")
        done
        said=$(python -m espnet_mtasr.bin.add_onsets "${policy[@]}" --seed "${seed}" \
            --out "${with_onsets}/Libri${k}Mix" "${csvs[@]}")
        printf '%s\n' "${said}"
        if [[ ${said} == *"onsets kept"* ]]; then
            kept+="; mixtures of ${k} talkers have the metadata's onsets"
            if [[ ${said} == *"onsets drawn"* ]]; then kept+=" where these have some"; fi
        fi
        if [[ ${said} == *"onsets drawn"* ]]; then drawn=true; fi
    done
    begins+=${kept}
    if [ -n "${kept}" ] && [ "${drawn}" = false ]; then
        begins="onsets from the metadata"
    fi
    metadata=${with_onsets}
fi

sets=()
train_sources=()
valid_sources=()
for k in 2 3; do
    csvs=()
    for part in "${parts[@]}"; do
        csvs+=("${metadata}/$(csv_of "${k}" "${part}")")
    done
    joined=$(IFS=, && echo "${csvs[*]}")
    sets+=(--set "train_libri${k}mix" "${joined}" "${noise}")
    for part in dev test; do
        sets+=(--set "${part}_libri${k}mix" "${metadata}/$(csv_of "${k}" "${part}-clean")" "${test_noise}")
    done
    for variant in "${variants[@]}"; do
        train_sources+=("train_libri${k}mix_${variant}")
        valid_sources+=("dev_libri${k}mix_${variant}")
    done
done
counts=(2 3)
if [ "${single_talker}" = true ]; then
    counts=(1 2 3)
    sets+=(--single train_libri1 "$(IFS=, && echo "${parts[*]}")")
    for part in dev test; do
        sets+=(--single "${part}_libri1" "${part}-clean")
    done
    train_sources+=(train_libri1)
    valid_sources+=(dev_libri1)
fi
if [ -n "${lists}" ]; then
    for k in "${counts[@]}"; do
        sets+=(--set "test_librispeechmix${k}" "${lists}/test-clean-${k}mix.jsonl" clean)
    done
fi
if [ "${on_the_fly}" = true ]; then sets+=(--on_the_fly true); fi

if [ "${test_noise}" = both ]; then sets+=(--wham_noise "${wham_noise}"); fi

log "mixtures in data/local/mixtures, data directories in data"
utils/data_job.sh "${nj}" data/local/log/simulate.log \
    python -m espnet_mtasr.bin.simulate \
    --librispeech "${librispeech}" \
    --audio data/local/mixtures --data data --audio_format "${audio_format}" \
    --follow_links "${follow_links}" --nj "${nj}" "${sets[@]}" \
    --combine "${train_set}" "${train_sources[@]}" \
    --combine "${valid_set}" "${valid_sources[@]}"
# Description of the data for RESULTS.md.
measured_on="LibriMix (16 kHz, max), ${begins}"
if [ -n "${lists}" ]; then measured_on+="; LibriSpeechMix as its lists have it"; fi
printf '%s\n' "${measured_on}" >data/mixtures.txt
log "done"
