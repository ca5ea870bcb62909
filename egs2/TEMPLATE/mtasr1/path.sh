#!/usr/bin/env bash
# Source it: the Python environment, the helpers in utils/ and a few settings. It finds
# the repository from its own place, through symbolic links, from any folder. That may be
# an ESPnet checkout, with this folder beside its own TEMPLATE/asr1.

MTASR_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../.." && pwd)
export MTASR_ROOT

# An environment that is already active is the user's choice. conda's base is active in
# every shell of many users and is no choice: .venv comes before it.
if [ -z "${VIRTUAL_ENV:-}" ] &&
    { [ -z "${CONDA_PREFIX:-}" ] || [ "${CONDA_DEFAULT_ENV:-}" = base ]; }; then
    if [ -f "${MTASR_ROOT}/.venv/bin/activate" ]; then
        # shellcheck disable=SC1091 # made by tools/setup.sh
        . "${MTASR_ROOT}/.venv/bin/activate"
    elif [ -f "${MTASR_ROOT}/tools/activate_python.sh" ]; then
        # ESPnet's own; conda's scripts, which it may call, read variables that are unset.
        _mtasr_flags=$-
        set +u
        # shellcheck disable=SC1091 # made by ESPnet's tools/setup_*.sh
        . "${MTASR_ROOT}/tools/activate_python.sh"
        case ${_mtasr_flags} in *u*) set -u ;; esac
        unset _mtasr_flags
    fi
fi

_mtasr_utils=${MTASR_ROOT}/egs2/TEMPLATE/mtasr1/utils
case ":${PATH}:" in
    *":${_mtasr_utils}:"*) ;;
    *) export PATH="${_mtasr_utils}:${PATH}" ;;
esac
unset _mtasr_utils
# An active environment is never modified, so the package need not be installed in it.
if [ -d "${MTASR_ROOT}/espnet_mtasr" ]; then
    case ":${PYTHONPATH:-}:" in
        *":${MTASR_ROOT}:"*) ;;
        *) export PYTHONPATH="${MTASR_ROOT}${PYTHONPATH:+:${PYTHONPATH}}" ;;
    esac
fi

# Sorting must not depend on the language: utterance ids are compared byte by byte.
export LC_ALL=C
export PYTHONIOENCODING=UTF-8
# Parallel jobs with several threads each slow one another down many times.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export TOKENIZERS_PARALLELISM=false
# glibc gives a tensor's memory back to the kernel when it is freed, and has it filled with
# zeros anew for the next one; kept, it makes steps on a CPU 4 % shorter.
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-4294967296}
