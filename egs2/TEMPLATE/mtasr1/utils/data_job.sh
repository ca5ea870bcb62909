#!/usr/bin/env bash
# Runs a command that prepares data where train_cmd (cmd.sh) has it run, with a core for
# each of its processes. On this machine it is run as it is and shows how far it is;
# elsewhere it writes a log, which is printed when it has ended. Run it in the recipe's
# folder. Downloads are no work for it: compute nodes often have no network.
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
# The cores are for processes of one thread each, and so is a GB for each.
"${train_cmd_words[@]}" --num_threads "${processes}" --mem $((4 + processes))G \
    "${log}" env OMP_NUM_THREADS=1 "$@"
sed '/^# /d' "${log}"
