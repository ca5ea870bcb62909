#!/usr/bin/env bash
# Runs a command on this machine with its output in a log, with the interface of Kaldi's
# run.pl, which espnet2.bin.launch also uses. The command is not parsed by a shell; for
# a pipe, give `bash -c '... | ...'`.
set -euo pipefail

usage="run.sh [--gpu N] [--num_threads N] [--mem X] [--max_jobs_run N] [--num_nodes 1]
       [--name NAME] [JOB=1:N] LOG COMMAND [ARGUMENT ...]
In LOG and in the command, JOB is replaced by the number of the job. --mem, --name,
--cpus_per_gpu and --mem_per_gpu are accepted and left to the machine."

die() {
    echo "run.sh: error: $*" >&2
    exit 2
}

gpu=0
num_threads=''
max_jobs_run=0
num_nodes=1
while [ $# -gt 0 ]; do
    option=${1#--}
    option=${option//-/_}
    case $1 in
        --help)
            echo "${usage}"
            exit 0
            ;;
        --mem | --name | --cpus[_-]per[_-]gpu | --mem[_-]per[_-]gpu)
            if [ $# -lt 2 ]; then die "$1 needs a value"; fi
            shift 2
            ;;
        --gpu | --num[_-]threads | --max[_-]jobs[_-]run | --num[_-]nodes)
            if [ $# -lt 2 ]; then die "$1 needs a value"; fi
            [[ $2 =~ ^[0-9]+$ ]] || die "$1 takes a number, not '$2'"
            printf -v "${option}" '%s' "$2"
            shift 2
            ;;
        --*) die "unknown option $1 (see run.sh --help)" ;;
        *) break ;;
    esac
done
if [ "${num_nodes}" -gt 1 ]; then
    die "--num_nodes ${num_nodes}: run.sh only uses this machine; use slurm.pl (cmd.sh)"
fi

name=''
first=1
last=1
if [[ ${1:-} =~ ^([A-Za-z_]+)=([0-9]+)(:([0-9]+))?$ ]]; then
    name=${BASH_REMATCH[1]}
    first=${BASH_REMATCH[2]}
    last=${BASH_REMATCH[4]:-${first}}
    if [ "${last}" -lt "${first}" ]; then die "$1: the second number is smaller than the first"; fi
    shift
fi
if [ $# -lt 2 ]; then die "a log and a command are needed (see run.sh --help)"; fi
log=$1
shift
jobs=$((last - first + 1))
if [ "${jobs}" -gt 1 ] && [[ ${log} != *"${name}"* ]]; then
    die "the log ${log} has no ${name} in it: ${jobs} jobs would write the same file"
fi
if [ -n "${num_threads}" ] && [ "${num_threads}" -gt 0 ]; then
    export OMP_NUM_THREADS=${num_threads}
fi

# Several jobs with GPUs share this machine's GPUs; a single one finds its own.
gpus=()
if [ "${gpu}" -gt 0 ] && [ "${jobs}" -gt 1 ]; then
    if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
        IFS=, read -r -a gpus <<<"${CUDA_VISIBLE_DEVICES}"
    elif command -v nvidia-smi >/dev/null; then
        mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader)
    fi
fi
workers=${max_jobs_run}
if [ "${workers}" -eq 0 ]; then
    if [ "${gpu}" -gt 0 ]; then
        workers=${#gpus[@]}
        workers=$((workers / gpu))
    else
        # nproc obeys OMP_NUM_THREADS, which is for the threads of one job.
        workers=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
        workers=$((workers / ${num_threads:-1}))
    fi
fi
if [ "${workers}" -lt 1 ]; then workers=1; fi
if [ "${workers}" -gt "${jobs}" ]; then workers=${jobs}; fi

run_job() {
    local job=$1 log_file=$2 code=0 start=${SECONDS}
    shift 2
    mkdir -p "$(dirname "${log_file}")"
    {
        echo "# Running on ${HOSTNAME}"
        echo "# Started at $(date)"
        printf '#'
        printf ' %q' "$@"
        echo
    } >"${log_file}"
    "$@" </dev/null >>"${log_file}" 2>&1 || code=$?
    {
        echo "# Accounting: time=$((SECONDS - start)) threads=${num_threads:-1}"
        echo "# Ended (code ${code}) at $(date)"
    } >>"${log_file}"
    if [ "${code}" -ne 0 ]; then touch "${claims}/failed"; fi
    echo "${code}" >"${claims}/${job}/code"
}

# A worker takes the next unclaimed job, until one has failed.
work() {
    local slot=$1 job
    shift
    if [ $(((slot + 1) * gpu)) -le ${#gpus[@]} ] && [ "${gpu}" -gt 0 ]; then
        CUDA_VISIBLE_DEVICES=$(IFS=, && echo "${gpus[*]:slot * gpu:gpu}")
        export CUDA_VISIBLE_DEVICES
    fi
    for ((job = first; job <= last; job++)); do
        if [ -e "${claims}/failed" ]; then return; fi
        mkdir "${claims}/${job}" 2>/dev/null || continue
        if [ -n "${name}" ]; then
            run_job "${job}" "${log//${name}/${job}}" "${@//${name}/${job}}"
        else
            run_job "${job}" "${log}" "$@"
        fi
    done
}

# mtasr.sh's progress line may be on the current line.
erase_line() {
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}

# alive PID [START]: is the process running, and is it the one that began then?
alive() {
    local fields=()
    read -r -a fields 2>/dev/null <"/proc/$1/stat" || return 1
    # A process that has not been waited for is a zombie.
    [ "${fields[2]}" != Z ] && [ "${2:-${fields[21]}}" = "${fields[21]}" ]
}

# end_orphans GROUP...: when this script has been killed, or mtasr.sh for which it works,
# ends the workers, which would go on, first by TERM and after 10 s by KILL.
# shellcheck disable=SC2317,SC2329 # it runs in the background
end_orphans() {
    local caller=${MTASR_CALLER:-$$} group signal start=()
    read -r -a start <"/proc/${caller}/stat" || return
    while sleep 1 && alive "$$" && alive "${caller}" "${start[21]}"; do :; done
    for signal in TERM KILL; do
        for group in "$@"; do kill -s "${signal}" -- "-${group}" || continue; done
        for ((n = 0; n < 10; n++)); do
            for group in "$@"; do
                if kill -0 -- "-${group}"; then
                    sleep 1
                    continue 2
                fi
            done
            return
        done
    done
}

claims=$(mktemp -d)
pids=()
watcher=''
# shellcheck disable=SC2317,SC2329 # the trap calls it
stop() {
    trap '' INT TERM HUP
    # The watcher stays, for jobs that don't end by that.
    for pid in "${pids[@]}"; do kill -TERM -- "-${pid}" 2>/dev/null || true; done
    rm -rf "${claims}"
    erase_line
    echo "run.sh: stopped; log: ${log}" >&2
    exit 130
}
trap stop INT TERM HUP

# Job control gives each worker a process group, so that stop() reaches the grandchildren.
set -m
for ((slot = 0; slot < workers; slot++)); do
    work "${slot}" "$@" &
    pids+=("$!")
done
if [ -r "/proc/$$/stat" ]; then
    end_orphans "${pids[@]}" </dev/null >/dev/null 2>&1 &
    watcher=$!
fi
set +m
wait "${pids[@]}" || true
if [ -n "${watcher}" ]; then
    kill -- "-${watcher}" 2>/dev/null || true
    wait "${watcher}" 2>/dev/null || true
fi

# A job without a code was begun and lost its worker.
failed=()
code=0
for ((job = first; job <= last; job++)); do
    if [ ! -d "${claims}/${job}" ] && [ -e "${claims}/failed" ]; then continue; fi
    job_code=$(cat "${claims}/${job}/code" 2>/dev/null) || job_code=1
    if [ "${job_code}" -ne 0 ]; then failed+=("${job}"); fi
    if [ "${code}" -eq 0 ]; then code=${job_code}; fi
done
rm -rf "${claims}"
if [ ${#failed[@]} -eq 0 ]; then exit 0; fi
if [ -n "${name}" ]; then log=${log//${name}/${failed[0]}}; fi
erase_line
echo "run.sh: ${#failed[@]} of ${jobs} jobs failed (code ${code}); log: ${log}" >&2
grep -sv '^# \(Accounting\|Ended\)' "${log}" | tail -n 5 | sed 's/^/    /' >&2
exit "${code}"
