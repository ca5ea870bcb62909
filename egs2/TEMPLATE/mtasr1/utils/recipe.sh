#!/usr/bin/env bash
# Functions for the run.sh of a recipe, and for scripts that call it. They run in the
# recipe's folder; ${called_from} is the folder that the user called from.

log() {
    echo "$(date '+%Y-%m-%dT%H:%M:%S') (${0##*/}) $*"
}
die() {
    echo "${0##*/}: error: $*" >&2
    exit 2
}

# user_path TEST OPTION PATH: prints the user's path as an absolute path without spaces,
# for --local_data_opts. TEST is -d or -f.
user_path() {
    local path=$3 kind=folder
    if [ "$1" = -f ]; then kind="file"; fi
    # shellcheck disable=SC2154 # called_from is the script's
    if [[ ${path} != /* ]]; then path=${called_from}/${path}; fi
    if [ -z "$3" ] || ! test "$1" "${path}"; then
        die "--$2 $3: no such ${kind}; check the path"
    fi
    # Keep links: one without spaces may lead to a folder with spaces.
    path=$(realpath --no-symlinks -- "${path}")
    case ${path} in
        *[[:space:]]*) die "--$2 ${path}: contains a space; use a symlink without spaces" ;;
    esac
    echo "${path}"
}

# user_model NAME: prints the user's zip or folder as an absolute path, and a hub id
# unchanged.
user_model() {
    if [ -n "$1" ] && [ -e "${called_from}/$1" ]; then
        echo "${called_from}/$1"
    else
        echo "$1"
    fi
}

# run_mtasr OPTION...: checks the options, creates the environment, and becomes
# mtasr.sh. The check comes first, so a mistake shows before gigabytes are installed.
run_mtasr() {
    ./mtasr.sh "$@" --check_options true
    utils/prepare_environment.sh
    exec ./mtasr.sh "$@"
}

# call_run OPTION...: calls run.sh from the user's folder, because options may have
# paths relative to it.
call_run() {
    local recipe=${PWD}
    (cd "${called_from}" && "${recipe}/run.sh" "$@")
}
