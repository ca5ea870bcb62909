#!/usr/bin/env bash
# Makes the Python environment in .venv, or checks the one that is already active.
# A second call finds the marker that the first one wrote last, and returns at once.
set -euo pipefail

help_message="Usage: tools/setup.sh [options]
Makes the environment for this repository in .venv, with the versions of
tools/constraints.txt: 3 to 6 minutes, about 8 GB. A second call returns at once;
after a failed download, run it again to continue. An environment that is already
active is used as it is, and never changed.

  --python PY         this Python 3.12 or 3.13 (default: the first found in PATH, in
                      pyenv's versions or by uv); ignores an active environment
  --venv DIR          make the environment here (default: .venv in the repository);
                      ignores an active environment
  --torch_index URL   package index for torch and torchaudio, for instance one with
                      CPU builds (default: pip's own)
  --no_system         leave the system's packages alone
  --help              this text"

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
constraints=${root}/tools/constraints.txt

log() { echo "$(date '+%H:%M:%S') setup.sh: $*"; }
warn() { echo "setup.sh: warning: $*" >&2; }
die() {
    echo "setup.sh: error: $*" >&2
    exit 2
}

python=''
venv=''
torch_index=''
no_system=false
own_options=(python venv torch_index no_system)
# A flag here; Kaldi's options have values.
set -- "${@/%--no[-_]system/--no_system=true}"
# shellcheck source=../egs2/TEMPLATE/mtasr1/utils/parse_options.sh
. "${root}/egs2/TEMPLATE/mtasr1/utils/parse_options.sh"
[ ${#passed_options[@]} -eq 0 ] ||
    die "unknown option ${passed_options[0]} (see tools/setup.sh --help)"
for option in "${given_options[@]}"; do
    if [ -z "${!option}" ] || [[ ${!option} == --* ]]; then
        die "--${option} needs a value (see tools/setup.sh --help)"
    fi
done

# Prints what a Python lacks, or nothing if it will do. Each candidate is run, since a
# name in PATH proves little: pyenv's shims exist for versions that are not selected.
python_lacks() {
    local lacks
    if ! lacks=$("$1" -c '
import sys
if sys.version_info[:2] not in ((3, 12), (3, 13)):
    print("is %d.%d" % sys.version_info[:2])
    sys.exit()
import os, sysconfig
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    print("is a free-threaded build")
    sys.exit()
try:
    import ensurepip, venv
except ImportError:
    print("has no venv and ensurepip")
    sys.exit()
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("has no Python.h")
' </dev/null 2>/dev/null); then
        lacks="does not run"
    fi
    echo "${lacks}"
}

find_python() {
    local candidate lacks tried=
    local -a candidates=()
    if [ -n "${python}" ]; then
        lacks=$(python_lacks "${python}")
        [ -z "${lacks}" ] || die "--python ${python} ${lacks}: name a Python 3.12 or" \
            "3.13 with venv, ensurepip and Python.h"
        return
    fi
    for candidate in python3.12 python3.13 python3 python; do
        mapfile -t -O "${#candidates[@]}" candidates < <(type -ap "${candidate}")
    done
    for candidate in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.1[23]*/bin/python3; do
        if [ -x "${candidate}" ]; then candidates+=("${candidate}"); fi
    done
    if command -v uv >/dev/null; then
        for candidate in 3.12 3.13; do
            candidate=$(uv python find --no-project "${candidate}" 2>/dev/null) || continue
            candidates+=("${candidate}")
        done
    fi
    for candidate in "${candidates[@]}"; do
        lacks=$(python_lacks "${candidate}")
        if [ -z "${lacks}" ]; then
            python=${candidate}
            return
        fi
        tried+=", ${candidate} ${lacks}"
    done
    tried=${tried:-, nothing named python}
    die "no Python 3.12 or 3.13 with venv, ensurepip and Python.h found" \
        "(tried: ${tried:2}): install one (Debian or Ubuntu: apt-get install python3.12-venv" \
        "python3.12-dev; else: uv python install 3.12, or pyenv install 3.12) or name" \
        "it by --python"
}

missing_commands() {
    local -a missing=()
    command -v flite >/dev/null || missing+=(flite)
    command -v espeak-ng >/dev/null || missing+=(espeak-ng)
    # meeteval comes as source only.
    command -v c++ >/dev/null || command -v g++ >/dev/null || missing+=(g++)
    echo "${missing[*]-}"
}

# ensure_system STRICT: the synthesizers of the mini recipe, and a C++ compiler.
ensure_system() {
    local strict=$1 log_file missing why
    local -a packages run=()
    missing=$(missing_commands)
    [ -n "${missing}" ] || return 0
    read -r -a packages <<<"${missing}"
    local by_hand="sudo apt-get install -y ${missing}"
    command -v apt-get >/dev/null ||
        by_hand="install ${missing} with your system's package manager"
    if [ "${no_system}" = true ]; then
        why="--no_system was given"
    elif ! command -v apt-get >/dev/null; then
        why="there is no apt-get"
    elif [ "$(id -u)" = 0 ] || { run=(sudo -n) && sudo -n true 2>/dev/null; }; then
        log_file=$(mktemp --suffix=.apt.log)
        log "installing ${missing} (apt-get)"
        run+=(env DEBIAN_FRONTEND=noninteractive apt-get)
        if "${run[@]}" install -y "${packages[@]}" >>"${log_file}" 2>&1 ||
            { "${run[@]}" update >>"${log_file}" 2>&1 &&
                "${run[@]}" install -y "${packages[@]}" >>"${log_file}" 2>&1; }; then
            rm -f "${log_file}"
            return 0
        fi
        why="apt-get failed (${log_file})"
    else
        why="this needs root"
    fi
    if [ "${strict}" = true ] && [[ ${missing} == *g++* || ${no_system} = false ]]; then
        local without=", or pass --no_system to go on without"
        if [[ ${missing} == *g++* ]]; then without=; fi
        die "missing on this system: ${missing}; ${why}: ${by_hand}${without}"
    fi
    warn "missing on this system: ${missing}; ${why}: ${by_hand} (egs2/mini_librimix" \
        "goes on without a synthesizer as long as enough talkers remain)"
}

# An active environment, unless it is the one that this script makes. conda's base is
# active in every shell of many users: not a choice, so it may be passed over.
active_environment() {
    local default=${venv:-${root}/.venv}
    if [ -n "${VIRTUAL_ENV:-}" ]; then
        if [ "$(readlink -f "${VIRTUAL_ENV}")" != "$(readlink -f "${default}")" ]; then
            echo "${VIRTUAL_ENV}"
        fi
    elif [ -n "${CONDA_PREFIX:-}" ]; then
        echo "${CONDA_PREFIX}"
    fi
}

use_active() {
    local active=$1 lacks is_base=false
    if [ -z "${VIRTUAL_ENV:-}" ] && [ "${CONDA_DEFAULT_ENV:-}" = base ]; then
        is_base=true
        # path.sh prefers .venv to conda's base, so nothing else may be decided here.
        if [ -e "${root}/.venv" ]; then return 1; fi
    fi
    lacks=$(python_lacks "${active}/bin/python")
    case ${lacks} in
        "is "* | "does not run")
            if [ "${is_base}" = true ]; then return 1; fi
            die "the active environment ${active}: its bin/python ${lacks}; activate" \
                "one with Python 3.12 or 3.13, or deactivate it to get one in .venv"
            ;;
    esac
    if ! lacks=$("${active}/bin/python" "${root}/tools/check_environment.py" 2>&1); then
        if [ "${is_base}" = true ]; then return 1; fi
        die "${lacks}"
    fi
    ensure_system false
    log "the active environment ${active} is used as it is"
}

active=$(active_environment)
if [ -z "${python}${venv}" ] && [ -n "${active}" ]; then
    if use_active "${active}"; then exit 0; fi
    log "conda's base environment is left alone"
fi

venv=$(readlink -m "${venv:-${root}/.venv}")
marker=${venv}/.mtasr_ready
index_file=${venv}/.mtasr_torch_index
place_file=${venv}/.mtasr_place

describe() {
    echo "root=${root} torch_index=${torch_index}"
    cat "${root}/setup.py" "${constraints}" "${venv}/pyvenv.cfg"
}
finish() {
    log "the environment is ready: source ${venv}/bin/activate"
    exit 0
}
is_ready() {
    [ -x "${venv}/bin/python" ] && [ -f "${marker}" ] &&
        [ "$(cat "${place_file}" 2>/dev/null)" = "${venv}" ] &&
        [ "$(describe | cksum)" = "$(cat "${marker}")" ]
}

if [ -z "${torch_index}" ] && [ -f "${index_file}" ]; then
    torch_index=$(cat "${index_file}")
fi
if [ -n "${python}" ] && [ -x "${venv}/bin/python" ]; then
    lacks=$(python_lacks "${python}")
    [ -z "${lacks}" ] || die "--python ${python} ${lacks}: name a Python 3.12 or 3.13"
    show='import sys; print(sys.version_info[:2])'
    if [ "$("${python}" -c "${show}")" != "$("${venv}/bin/python" -c "${show}")" ]; then
        die "--python ${python} has another version than ${venv}: delete that folder," \
            "or name another by --venv"
    fi
fi
if is_ready; then finish; fi

# Two recipes started at once must not fill the same environment.
exec 9<"${BASH_SOURCE[0]}"
if command -v flock >/dev/null && ! flock -n 9; then
    log "waiting for another tools/setup.sh"
    flock 9
    if is_ready; then finish; fi
fi

if [ -e "${venv}" ] && [ ! -f "${venv}/pyvenv.cfg" ] &&
    ! rmdir "${venv}" 2>/dev/null; then
    die "${venv} exists and is no Python environment: name another folder by --venv"
fi
is_new=true
if [ -x "${venv}/bin/python" ] && [ -z "$(python_lacks "${venv}/bin/python")" ] &&
    [ "$(cat "${place_file}" 2>/dev/null)" = "${venv}" ]; then
    is_new=false
elif [ -f "${venv}/pyvenv.cfg" ] && [ ! -f "${place_file}" ]; then
    die "${venv} was not made by tools/setup.sh: activate it to use it as it is, or" \
        "delete it"
fi
if [ "${is_new}" = true ]; then
    find_python
    parent=${venv}
    while [ ! -d "${parent}" ]; do parent=$(dirname "${parent}"); done
    needed_gb=8
    if [[ ${torch_index} == *cpu* ]]; then needed_gb=4; fi
    free_kb=$(df -Pk "${parent}" | awk 'NR == 2 {print $4}')
    if [ "${free_kb}" -lt $((needed_gb * 1024 * 1024)) ]; then
        die "${venv} needs about ${needed_gb} GB and $((free_kb / 1024 / 1024)) GB are" \
            "free: make room, or name another disk's folder by --venv"
    fi
fi
setup_log=${venv}/setup.log
ensure_system true

if [ "${is_new}" = true ]; then
    log "making ${venv} with ${python}"
    # --clear empties the folder: what a copied or broken environment left must go.
    # pip comes after the file that says whose folder this is: it takes seconds, and an
    # interruption must leave a folder that the next call knows for its own.
    "${python}" -m venv --clear --without-pip "${venv}" >/dev/null ||
        die "${python} could not make ${venv}: see the lines above"
    echo "${venv}" >"${place_file}"
fi
"${venv}/bin/python" -m pip --version >/dev/null 2>&1 ||
    "${venv}/bin/python" -m ensurepip --default-pip >>"${setup_log}" 2>&1 ||
    die "${venv} has no pip and cannot get it: delete that folder and try again"

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

# pip_install WHAT ARGS...: what takes long is shown, the rest is in setup.log.
pip_install() {
    local what=$1 attempt problem
    shift
    for attempt in 1 2 3; do
        echo "# $(date) pip install $*" >>"${setup_log}"
        if "${venv}/bin/python" -m pip install --retries 10 --timeout 60 "$@" 2>&1 |
            tee -a "${setup_log}" |
            awk '/^ *Downloading / && ($NF == "GB)" ||
                     ($NF == "MB)" && substr($(NF - 1), 2) + 0 > 20)) {
                     split($2, name, "-")
                     print "    downloading " name[1], name[2], $(NF - 1), $NF; fflush() }
                 /^(Building wheels|Installing collected)/ {
                     print "    " tolower($1 " " $2); fflush() }'; then
            return 0
        fi
        problem=$(grep '^ERROR' "${setup_log}" | tail -n 1) || problem=
        case ${problem} in
            *"No matching distribution"* | *ResolutionImpossible* | *"No space left"*) break ;;
        esac
        if [ "${attempt}" -lt 3 ]; then
            log "pip failed, trying again (${problem#ERROR: })"
            sleep 2
        fi
    done
    die "pip could not install ${what} (${problem#ERROR: }): see ${setup_log}; the same" \
        "command goes on from here"
}

log "installing the packages: 3 to 6 minutes (log: ${setup_log})"
if [ -n "${torch_index}" ]; then
    mapfile -t torch_pins < <(grep -E '^torch(audio)?==' "${constraints}")
    declare -a reinstall=()
    if [ "$(cat "${index_file}" 2>/dev/null)" != "${torch_index}" ]; then
        reinstall=(--force-reinstall)
    fi
    # Without dependencies: an index for torch need not hold them.
    pip_install "torch from ${torch_index}" --no-deps "${reinstall[@]}" \
        --index-url "${torch_index}" "${torch_pins[@]}"
    echo "${torch_index}" >"${index_file}"
fi
pip_install "the packages of setup.py" -c "${constraints}" -e "${root}[all]"

log "checking the installation"
if ! (cd "${root}" && "${venv}/bin/python" -c \
    'import torch, torchaudio, transformers, peft, meeteval, espnet2.tasks.asr' \
    >>"${setup_log}" 2>&1); then
    die "the installed packages do not load ($(tail -n 1 "${setup_log}")): see" \
        "${setup_log}, or delete ${venv} and try again"
fi
describe | cksum >"${marker}.part"
mv "${marker}.part" "${marker}"
finish
