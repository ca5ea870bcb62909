#!/usr/bin/env bash
# Splits a list into contiguous parts of nearly equal length, in order, like Kaldi's
# split_scp.pl with FILE OUT1 OUT2 ...
set -euo pipefail

die() {
    echo "split_scp.sh: error: $*" >&2
    exit 2
}

if [ $# -lt 2 ]; then die "usage: split_scp.sh FILE OUT1 [OUT2 ...]"; fi
file=$1
shift
if [ ! -r "${file}" ]; then die "${file}: no such file"; fi

lines=$(awk 'END {print NR}' "${file}")
if [ "${lines}" -lt $# ]; then
    die "${file} has ${lines} lines, too few for $# parts: ask for ${lines} jobs at most"
fi
first=1
left=$#
for out in "$@"; do
    last=$((first + (lines - first + 1 + left - 1) / left - 1))
    awk -v first="${first}" -v last="${last}" \
        'NR > last {exit} NR >= first' "${file}" >"${out}.part"
    mv "${out}.part" "${out}"
    first=$((last + 1))
    left=$((left - 1))
done
