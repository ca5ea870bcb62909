#!/usr/bin/env bash
# Source it: the Python environment, the helpers in utils/ and a few settings. It finds
# the repository from its own place, through symbolic links, from any folder.

MTASR_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../.." && pwd)
export MTASR_ROOT

# An environment that is already active is the user's choice. conda's base is active in
# every shell of many users and is no choice: .venv comes before it.
if [ -z "${VIRTUAL_ENV:-}" ] && [ -f "${MTASR_ROOT}/.venv/bin/activate" ] &&
    { [ -z "${CONDA_PREFIX:-}" ] || [ "${CONDA_DEFAULT_ENV:-}" = base ]; }; then
    # shellcheck disable=SC1091 # made by tools/setup.sh
    . "${MTASR_ROOT}/.venv/bin/activate"
fi

_mtasr_utils=${MTASR_ROOT}/egs2/TEMPLATE/mtasr1/utils
case ":${PATH}:" in
    *":${_mtasr_utils}:"*) ;;
    *) export PATH="${_mtasr_utils}:${PATH}" ;;
esac
unset _mtasr_utils
# An active environment is never modified, so the package need not be installed in it.
case ":${PYTHONPATH:-}:" in
    *":${MTASR_ROOT}:"*) ;;
    *) export PYTHONPATH="${MTASR_ROOT}${PYTHONPATH:+:${PYTHONPATH}}" ;;
esac

# Sorting must not depend on the language: utterance ids are compared byte by byte.
export LC_ALL=C
export PYTHONIOENCODING=UTF-8
# Parallel jobs with several threads each slow one another down many times.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export TOKENIZERS_PARALLELISM=false
