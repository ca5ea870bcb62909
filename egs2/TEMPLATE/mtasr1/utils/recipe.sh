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

# user_path TEST OPTION PATH: prints the user's path as an absolute one without blanks,
# which --local_data_opts can hold. TEST is -d or -f.
user_path() {
    local path=$3 kind=folder
    if [ "$1" = -f ]; then kind="file"; fi
    # shellcheck disable=SC2154 # called_from is the script's
    if [[ ${path} != /* ]]; then path=${called_from}/${path}; fi
    if [ -z "$3" ] || ! test "$1" "${path}"; then
        die "--$2 $3: no such ${kind}; check the path"
    fi
    # Links stay links: one without a blank may lead to a folder with one.
    path=$(realpath --no-symlinks -- "${path}")
    case ${path} in
        *[[:space:]]*) die "--$2 ${path}: has a blank in it; give a link without" ;;
    esac
    echo "${path}"
}

# user_model NAME: prints the user's zip or folder as an absolute path, and a hub id as it is.
user_model() {
    if [ -n "$1" ] && [ -e "${called_from}/$1" ]; then
        echo "${called_from}/$1"
    else
        echo "$1"
    fi
}

# run_mtasr OPTION...: checks the options, makes the environment, and becomes mtasr.sh. A
# mistake must not cost the installation of gigabytes first.
run_mtasr() {
    ./mtasr.sh "$@" --check_options true
    utils/prepare_environment.sh
    exec ./mtasr.sh "$@"
}

# call_run OPTION...: calls run.sh from where the user is, for options may name folders
# from there.
call_run() {
    local recipe=${PWD}
    (cd "${called_from}" && "${recipe}/run.sh" "$@")
}
