#!/usr/bin/env bash
# Checks options of mtasr.sh whose mistakes would otherwise only show hours later, in
# the stage that uses them. mtasr.sh sources it.
# shellcheck disable=SC2154 # they are mtasr.sh's

is_number() { # is_number VALUE [CONDITION]: a decimal number x for which CONDITION holds?
    [[ $1 =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)(e-?[0-9]+)?$ ]] && awk -v x="$1" "BEGIN {exit !(${2:-1})}"
}

for n in fs nbpe ${ngram_num:+ngram_num} ${max_ngrams:+max_ngrams} ${num_threads:+num_threads}; do
    [[ ${!n} =~ ^[1-9][0-9]*$ ]] || die "--${n} ${!n}: give a number from 1"
done
for n in max_unalignable max_unreadable; do
    is_number "${!n}" "x <= 1" || die "--${n} ${!n}: give a share from 0 to 1"
done
for n in min_wav_duration max_wav_duration; do
    is_number "${!n}" || die "--${n} ${!n}: give seconds"
done
is_number "${max_wav_duration}" "x > ${min_wav_duration}" ||
    die "--max_wav_duration ${max_wav_duration}: is not above --min_wav_duration" \
        "${min_wav_duration}"
[[ ${talker_counts} =~ ^[[:blank:]]*[1-9][0-9]*([[:blank:]]+[1-9][0-9]*)*[[:blank:]]*$ ]] ||
    die "--talker_counts ${talker_counts}: give counts from 1, as in '2 3'"
for n in ${speed_perturb_factors}; do
    is_number "${n}" "x >= 0.1 && x <= 10" ||
        die "--speed_perturb_factors ${n}: give factors from 0.1 to 10, as in '0.9 1.0 1.1'"
done
for n in ${skip_stages}; do
    [[ ${n} =~ ^([1-9]|1[0-5])$ ]] || die "--skip_stages ${n}: give stages from 1 to 15"
done
case ${bpemode} in
    unigram | bpe) ;;
    *) die "--bpemode ${bpemode}: choose unigram or bpe" ;;
esac
for n in train_set valid_set phase1_tag phase2_tag inference_tag; do
    [[ ${!n} != *[[:space:]/]* ]] || die "--${n} ${!n}: give a name, without spaces or slashes"
done
for n in ${test_sets}; do
    [[ ${n} != */* ]] || die "--test_sets ${n}: give names, without slashes"
done
if [ -n "${packed_model}" ] && [[ ${packed_model} != *.zip ]]; then
    die "--packed_model ${packed_model}: must end in .zip"
fi
if [ -n "${token_dir}" ] && [ ! -f "${token_dir}/tokens.txt" ]; then
    die "--token_dir ${token_dir}: has no tokens.txt; give a folder of units, or omit it"
fi
# Files that stage 1 makes don't exist yet.
read -ra lm_texts <<<"${lm_train_text}"
for f in "${lm_texts[@]}"; do
    [ -e "${f}" ] || [[ ${f} == data/* || ${f} == "${dumpdir}"/* ]] ||
        die "--lm_train_text ${f}: no such file or folder"
done
if [ -n "${bpe_train_text}" ] && [ ! -f "${bpe_train_text}" ] &&
    [[ ${bpe_train_text} != data/* && ${bpe_train_text} != "${dumpdir}"/* ]]; then
    die "--bpe_train_text ${bpe_train_text}: no such file"
fi
unset -f is_number
unset lm_texts
