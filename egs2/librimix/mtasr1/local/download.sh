#!/usr/bin/env bash
# Downloads corpora for which db.sh has no folder. It makes, in the folder downloads:
#   LibriSpeech        if LIBRISPEECH is `downloads`
#   wham_noise         if WHAM_NOISE is
#   librimix_metadata  if LIBRIMIX_METADATA is
# Otherwise these variables name folders, which are only checked. Runs in the recipe
# folder; run it again to resume.
set -euo pipefail

if [ "${1:-}" = --help ]; then
    echo "Usage: local/download.sh [options], in the recipe folder; db.sh has the paths of existing corpora
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
