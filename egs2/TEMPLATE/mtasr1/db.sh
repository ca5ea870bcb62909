#!/usr/bin/env bash
# Paths of corpora. The local/data.sh of a recipe with real corpora sources it;
# `downloads` means that its stage 1 downloads the corpus into the recipe's folder
# downloads, which may be a link to a larger disk. An existing folder elsewhere is only
# checked. The mini recipe makes its own corpus and has options instead.

# The folder with train-clean-100, dev-clean, test-clean, ... and SPEAKERS.TXT.
export LIBRISPEECH=${LIBRISPEECH:-downloads}
# Mini LibriSpeech: the folder with train-clean-5, dev-clean-2 and SPEAKERS.TXT.
export MINI_LIBRISPEECH=${MINI_LIBRISPEECH:-downloads}
# The folder with train, test and WAVE.
export SPEECHOCEAN762=${SPEECHOCEAN762:-downloads}
# The folder with tr, cv and tt (wham_noise, unpacked).
export WHAM_NOISE=${WHAM_NOISE:-downloads}
# LibriMix's metadata: the folder with Libri2Mix and Libri3Mix.
export LIBRIMIX_METADATA=${LIBRIMIX_METADATA:-downloads}

# Mirrors, tried in turn instead of the known addresses: http(s):// or file://
# addresses, or paths, of an archive or its folder; separated by spaces.
export LIBRISPEECH_URL=${LIBRISPEECH_URL:-}
export MINI_LIBRISPEECH_URL=${MINI_LIBRISPEECH_URL:-}
export SPEECHOCEAN762_URL=${SPEECHOCEAN762_URL:-}
export WHAM_NOISE_URL=${WHAM_NOISE_URL:-}
export LIBRIMIX_URL=${LIBRIMIX_URL:-}
# For a mirror with its own archives: a file in md5sum's format with their checksums.
export CORPORA_MD5SUMS=${CORPORA_MD5SUMS:-}
