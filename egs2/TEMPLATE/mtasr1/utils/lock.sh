#!/usr/bin/env bash
# Prevents two runs in one folder. Source it; it needs die and ${command_line}. A lock
# is held by an open file, which all processes that this script starts inherit. It is
# free when the last of them has ended, so a job that outlives its run still holds it.

declare -A locks_held=()

# find_holders FILE: sets pids to the other processes that have it open.
find_holders() {
    local link pid
    pids=()
    for link in /proc/[0-9]*/fd/*; do
        if [ "${link}" -ef "$1" ] 2>/dev/null; then
            pid=${link#/proc/}
            pid=${pid%%/*}
            if [ "${pid}" != "$$" ] && [[ " ${pids[*]-} " != *" ${pid} "* ]]; then
                pids+=("${pid}")
            fi
        fi
    done
}

# in_use FOLDER: says who holds its lock, and ends this script.
in_use() {
    local lock=$1/.lock owner='' since='' advice pids=()
    read -r owner since <"${lock}" || true
    find_holders "${lock}"
    if [ ${#pids[@]} -eq 0 ]; then
        advice="wait for it, or stop it there"
    elif [ -n "${owner}" ] && [ -d "/proc/${owner}" ]; then
        advice="wait for it, or end it by: kill ${owner}"
    else
        advice="it has ended, but these are still running there: ${pids[*]}; wait for them,"
        advice+=" or end them by: kill ${pids[*]}"
    fi
    die "$1 is in use by process ${owner:-?}, ${since:-of unknown origin}: ${advice}"
}

# open_lock FOLDER: opens its lock file as ${descriptor}; fails if it can't be read.
open_lock() {
    # On NFS, shared locks need it open for reading.
    if { exec {descriptor}<>"$1/.lock"; } 2>/dev/null; then return 0; fi
    { exec {descriptor}<"$1/.lock"; } 2>/dev/null
}

# no_jobs_left FOLDER...: ends this script if slurm still runs jobs of a run that has
# ended, for example because its terminal was closed. They use files that this run would
# overwrite. FOLDER may be the file of a job's number.
no_jobs_left() {
    local files=() ids running
    if ! command -v squeue >/dev/null; then return 0; fi
    mapfile -t files < <(find "$@" -path '*/q/*.id' -size +0 2>/dev/null || true)
    if [ ${#files[@]} -eq 0 ]; then return 0; fi
    ids=$(cut -d';' -f1 "${files[@]}" | paste -sd,)
    running=$(squeue --noheader --format %F --jobs "${ids}" 2>/dev/null | sort -u | paste -sd' ' || true)
    if [ -n "${running}" ]; then
        die "slurm still runs jobs of an earlier run, on files that this one would" \
            "write: ${running}; wait for them and run the same command again, or cancel" \
            "them by: scancel ${running}"
    fi
}

# hold exclusive|shared FOLDER...: locks folders until this script and its jobs have
# ended, or until it calls hold again. It goes on without a lock if the file system has
# none or the folder is not writable.
hold() {
    local mode=$1 folder lock code descriptor
    shift
    if ! command -v flock >/dev/null; then return 0; fi
    for folder in "$@"; do
        lock=${folder}/.lock
        mkdir -p "${folder}"
        if [ -z "${locks_held[${folder}]:-}" ]; then
            open_lock "${folder}" || continue
            locks_held[${folder}]=${descriptor}
        fi
        code=0
        flock --nonblock --conflict-exit-code 75 "--${mode}" "${locks_held[${folder}]}" \
            2>/dev/null || code=$?
        if [ "${code}" -eq 75 ]; then in_use "${folder}"; fi
        if [ "${code}" -eq 0 ] && [ -w "${lock}" ]; then
            # shellcheck disable=SC2154 # the script's
            echo "$$ since $(date '+%F %T') on ${HOSTNAME}, ${command_line% }" >"${lock}"
        fi
    done
}
