#!/usr/bin/env bash
# Runs a command that prepares data through train_cmd (cmd.sh), with a core for each of
# its processes. On this machine it runs directly and shows its progress; elsewhere it
# writes a log, which is printed at the end. Run it in the recipe's folder. Don't use it
# for downloads: compute nodes often have no network.
set -euo pipefail

if [ $# -lt 3 ] || [[ ! $1 =~ ^[1-9][0-9]*$ ]]; then
    echo "data_job.sh: error: usage: utils/data_job.sh PROCESSES LOG COMMAND [ARGUMENT ...]" >&2
    exit 2
fi
processes=$1
log=$2
shift 2
# shellcheck source=../cmd.sh
. ./cmd.sh
read -ra train_cmd_words <<<"${train_cmd}"
if [ "${train_cmd_words[0]}" = utils/run.sh ]; then exec "$@"; fi
echo "$(date '+%Y-%m-%dT%H:%M:%S') (data_job.sh) by ${train_cmd}; progress: tail -f ${log}"
# One core and one GB per process of one thread.
"${train_cmd_words[@]}" --num_threads "${processes}" --mem $((4 + processes))G \
    "${log}" env OMP_NUM_THREADS=1 "$@"
sed '/^# /d' "${log}"
