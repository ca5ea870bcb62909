#!/usr/bin/env bash
# Gets what db.sh does not point at. It leaves, in the folder downloads:
#   LibriSpeech        where LIBRISPEECH is `downloads`
#   wham_noise         where WHAM_NOISE is
#   librimix_metadata  where LIBRIMIX_METADATA is
# Elsewhere these variables name the folders, and they are only checked. Runs in the
# recipe folder; rerun, it goes on where it was, or says that all is there.
set -euo pipefail

if [ "${1:-}" = --help ]; then
    echo "Usage: local/download.sh [options], in the recipe folder; db.sh says what is there
All options go to espnet_mtasr.bin.download_corpora:"
fi
# shellcheck source=/dev/null # links into TEMPLATE, checked there
. ./path.sh
# shellcheck source=/dev/null
. ./db.sh

options=()
if [ -n "${CORPORA_MD5SUMS}" ]; then options+=(--md5sums "${CORPORA_MD5SUMS}"); fi
exec python -m espnet_mtasr.bin.download_corpora \
    --librispeech "${LIBRISPEECH}" --librispeech_url "${LIBRISPEECH_URL}" \
    --wham_noise "${WHAM_NOISE}" --wham_noise_url "${WHAM_NOISE_URL}" \
    --librimix_metadata "${LIBRIMIX_METADATA}" --librimix_url "${LIBRIMIX_URL}" \
    ${options[@]+"${options[@]}"} "$@"
