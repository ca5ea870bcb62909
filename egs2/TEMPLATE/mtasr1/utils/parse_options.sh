#!/usr/bin/env bash
# Command-line options as Kaldi's scripts take them: ours, with Kaldi's interface.
# Source it after the defaults: `--name value` sets the variable `name`, if it is
# defined. Hyphens in an option's name count as underscores; `--name=value` works too.
# It stops at the first argument that is no option, so that "$@" holds the rest.
# `--help` prints ${help_message}.
#
# A script that passes options on to another one lists its own in the array `own_options`,
# and may name the other script in `passed_to`. Then only its own options are taken, and
# the array `given_options` holds the names of those that were given. All other words go
# to the array `passed_options` as they are. `--help` prints ${passed_to}'s help as well.

_po_die() {
    echo "${0##*/}: error: $*" >&2
    exit 2
}

# An environment variable can't be an array, so it can't turn this mode on.
_po_pass_through=false
if [ -n "${own_options+set}" ] && [[ ${own_options@a} == *a* ]]; then
    _po_pass_through=true
    given_options=()
    passed_options=()
fi

_po_is_option() { # _po_is_option NAME: is it an option of the script that sources this?
    # Lower case only: `--PATH x` is a mistake, not a wish.
    [[ $1 =~ ^[a-z][a-z0-9_]*$ ]] || return 1
    case ${_po_pass_through} in
        true) [[ " ${own_options[*]} " == *" $1 "* ]] ;;
        false) [ -n "${!1+set}" ] ;;
    esac
}

while [ $# -gt 0 ]; do
    if [ "$1" = --help ] || [ "$1" = -h ]; then
        printf '%s\n' "${help_message:-no help for ${0##*/}}"
        if [ "${_po_pass_through}" = true ] && [ -n "${passed_to:-}" ]; then
            exec "${passed_to}" --help
        fi
        exit 0
    fi

    _po_name=${1%%=*}
    _po_name=${_po_name#--}
    _po_name=${_po_name//-/_}
    if [[ $1 != --* ]] || ! _po_is_option "${_po_name}"; then
        if [ "${_po_pass_through}" = true ]; then
            passed_options+=("$1")
            shift
            continue
        fi
        case $1 in
            --)
                shift
                break
                ;;
            --*) _po_die "unknown option ${1%%=*} (see ${0##*/} --help)" ;;
            *) break ;;
        esac
    fi

    if [[ $1 == *=* ]]; then
        _po_value=${1#*=}
    elif [ $# -lt 2 ]; then
        _po_die "$1 needs a value (see ${0##*/} --help)"
    else
        _po_value=$2
        # `--stage --nj 4` is a forgotten value, unless it is no option of ours.
        _po_next=${_po_value#--}
        if [[ ${_po_value} == --* ]] && _po_is_option "${_po_next//-/_}"; then
            _po_die "$1 needs a value before ${_po_value} (if that is the value: $1=${_po_value})"
        fi
        shift
    fi

    case ${!_po_name-} in
        true | false)
            case ${_po_value} in
                true | false) ;;
                *) _po_die "--${_po_name} takes true or false, not '${_po_value}'" ;;
            esac
            ;;
    esac
    printf -v "${_po_name}" '%s' "${_po_value}"
    if [ "${_po_pass_through}" = true ]; then given_options+=("${_po_name}"); fi
    shift
done

unset -f _po_die _po_is_option
unset _po_name _po_value _po_next _po_pass_through
true
