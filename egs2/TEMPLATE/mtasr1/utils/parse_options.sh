#!/usr/bin/env bash
# Command-line options as Kaldi's scripts take them: ours, with Kaldi's interface.
# Source it after the defaults: `--name value` sets the variable `name`, if it is
# defined. Hyphens in an option's name count as underscores; `--name=value` works too.
# It stops at the first argument that is no option, so that "$@" holds the rest.
# `--help` prints ${help_message}.

_po_die() {
    echo "${0##*/}: error: $*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
        --help | -h)
            printf '%s\n' "${help_message:-no help for ${0##*/}}"
            exit 0
            ;;
        --)
            shift
            break
            ;;
        --*) ;;
        *) break ;;
    esac

    _po_name=${1%%=*}
    _po_name=${_po_name#--}
    _po_name=${_po_name//-/_}
    # Lower case only: `--PATH x` is a mistake, not a wish.
    if ! [[ ${_po_name} =~ ^[a-z][a-z0-9_]*$ ]] || [ -z "${!_po_name+set}" ]; then
        _po_die "unknown option ${1%%=*} (see ${0##*/} --help)"
    fi

    if [[ $1 == *=* ]]; then
        _po_value=${1#*=}
    elif [ $# -lt 2 ]; then
        _po_die "$1 needs a value (see ${0##*/} --help)"
    else
        _po_value=$2
        # `--stage --nj 4` is a forgotten value, unless it is no option of ours.
        _po_next=${_po_value#--}
        _po_next=${_po_next//-/_}
        if [[ ${_po_value} =~ ^--[a-z][a-z0-9_-]*$ ]] && [ -n "${!_po_next+set}" ]; then
            _po_die "$1 needs a value before ${_po_value} (if that is the value: $1=${_po_value})"
        fi
        shift
    fi

    case ${!_po_name} in
        true | false)
            case ${_po_value} in
                true | false) ;;
                *) _po_die "--${_po_name} takes true or false, not '${_po_value}'" ;;
            esac
            ;;
    esac
    printf -v "${_po_name}" '%s' "${_po_value}"
    shift
done

unset -f _po_die
unset _po_name _po_value _po_next
true
