#!/usr/bin/env bash
# Source it to get the Python environment, the helpers in utils/ and a few settings. It
# finds the repository from its own location, through symbolic links, from any folder.
# That may be an ESPnet checkout, with this folder beside its own TEMPLATE/asr1.

MTASR_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../.." && pwd)
export MTASR_ROOT

# An environment that is already active is the user's choice. conda's base, however, is
# active in every shell of many users, so .venv takes precedence over it.
if [ -z "${VIRTUAL_ENV:-}" ] &&
    { [ -z "${CONDA_PREFIX:-}" ] || [ "${CONDA_DEFAULT_ENV:-}" = base ]; }; then
    if [ -f "${MTASR_ROOT}/.venv/bin/activate" ]; then
        # shellcheck disable=SC1091 # made by tools/setup.sh
        . "${MTASR_ROOT}/.venv/bin/activate"
    elif [ -f "${MTASR_ROOT}/tools/activate_python.sh" ]; then
        # ESPnet's own; conda's scripts, which it may call, read unset variables.
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
# Parallel jobs with several threads each slow each other down a lot.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export TOKENIZERS_PARALLELISM=false
# By default glibc returns a freed tensor's memory to the kernel, which must zero it
# again for the next one. Keeping it makes steps on a CPU 4 % shorter.
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-4294967296}
