#!/usr/bin/env bash
# Keeps two runs out of one folder. Source it; it needs die, and ${command_line}.
#
# A lock is held by an open file, which all that this script starts inherits: it is free
# when the last of them has ended, and a job that outlives its run still holds it.

declare -A locks_held=()

# holders FILE: prints the ids of the processes that have FILE open.
holders() {
    local link pid
    for link in /proc/[0-9]*/fd/*; do
        if [ "${link}" -ef "$1" ] 2>/dev/null; then
            pid=${link#/proc/}
            echo "${pid%%/*}"
        fi
    done | sort -nu
}

# in_use FOLDER: says who holds its lock, and ends this script.
in_use() {
    local lock=$1/.lock since owner pids advice
    read -r owner since <"${lock}" || true
    mapfile -t pids < <(holders "${lock}" | grep -vx "$$")
    advice="wait for it, or end it by: kill ${owner}"
    if [ ${#pids[@]} -gt 0 ] && [[ " ${pids[*]} " != *" ${owner} "* ]]; then
        since+=" (it has been killed, its jobs live on)"
        advice="wait for them, or end them by: kill ${pids[*]}"
    elif [ ${#pids[@]} -eq 0 ]; then
        advice="wait for it, or end it there"
    fi
    die "$1 is in use by process ${owner:-?}, ${since}: ${advice}"
}

# hold exclusive|shared FOLDER...: until this script and its jobs have ended, or until it
# holds them otherwise.
hold() {
    local mode=$1 folder lock code descriptor
    shift
    if ! command -v flock >/dev/null; then return; fi
    for folder in "$@"; do
        lock=${folder}/.lock
        mkdir -p "${folder}"
        if [ -z "${locks_held[${folder}]:-}" ]; then
            exec {descriptor}>>"${lock}"
            locks_held[${folder}]=${descriptor}
        fi
        code=0
        flock --nonblock --conflict-exit-code 75 "--${mode}" "${locks_held[${folder}]}" ||
            code=$?
        if [ "${code}" -eq 75 ]; then in_use "${folder}"; fi
        # Some network file systems have no locks.
        if [ "${code}" -eq 0 ]; then
            # shellcheck disable=SC2154 # the script's
            echo "$$ since $(date '+%F %T') on ${HOSTNAME}, ${command_line% }" >"${lock}"
        fi
    done
}
