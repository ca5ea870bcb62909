#!/usr/bin/env bash
# Checks and tests everything: shellcheck, ruff, black, mypy, import-linter, pytest. The
# environment is made on first use. Exit code 0 only if all of it passes.
set -euo pipefail

help_message="Usage: tools/test.sh [--full] [pytest's arguments]
  --full   run the tests marked slow as well
Paths in pytest's arguments are relative to the repository's root. Without arguments,
the tests of recipes and tools run beside the others, in a process of their own."

case ${1:-} in
    --help | -h)
        echo "${help_message}"
        exit 0
        ;;
esac
pytest_args=()
marks=()
for arg in "$@"; do
    if [ "${arg}" = --full ]; then
        # The last -m counts, and an empty one chooses every test.
        marks=(-m "")
    else
        pytest_args+=("${arg}")
    fi
done

exec </dev/null
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
tools/setup.sh
. egs2/TEMPLATE/mtasr1/path.sh
python tools/check_environment.py --extras test || {
    code=$?
    echo "tools/test.sh: error: see the line above" >&2
    exit "${code}"
}

log() { echo "$(date '+%H:%M:%S') test.sh: $*"; }
failed=()

# Tracked or not yet: what git ignores is left out, and so are links to what is there.
list_files() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files -z --cached --others --exclude-standard
    else
        find . -name .venv -prune -o -type f -print0
    fi
}
scripts=()
while IFS= read -r -d '' file; do
    if [ ! -f "${file}" ] || [ -L "${file}" ]; then continue; fi
    line=''
    case ${file} in
        *.sh) scripts+=("${file}") ;;
        *)
            IFS= read -r -n 40 line <"${file}" || true
            if [[ ${line} =~ ^#!.*(/|\ )(ba)?sh($|\ ) ]]; then scripts+=("${file}"); fi
            ;;
    esac
done < <(list_files)

log "shellcheck on ${#scripts[@]} scripts"
shellcheck -x -P SCRIPTDIR "${scripts[@]}" || failed+=(shellcheck)
log "ruff"
python -m ruff check . || failed+=(ruff)
log "black"
python -m black --check --quiet . || {
    python -m black --check . || true
    failed+=(black)
}
log "mypy"
python -m mypy || failed+=(mypy)
log "import-linter"
# lint-imports has a banner; of contracts that are kept nothing need be said.
imports=$(python -c 'from importlinter.cli import lint_imports_command as c; c()' 2>&1) || {
    echo "${imports}"
    failed+=(import-linter)
}
log "pytest"
code=0
if [ ${#pytest_args[@]} -gt 0 ]; then
    python -m pytest "${marks[@]}" "${pytest_args[@]}" || code=$?
else
    # About half of the time.
    beside=(test/egs2 test/tools)
    beside_log=$(mktemp)
    python -m pytest "${marks[@]}" "${beside[@]}" >"${beside_log}" 2>&1 &
    pid=$!
    trap 'kill "${pid}" 2>/dev/null || true; rm -f "${beside_log}"' EXIT
    python -m pytest "${marks[@]}" test "${beside[@]/#/--ignore=}" || code=$?
    log "pytest ${beside[*]}"
    wait "${pid}" || code=$?
    cat "${beside_log}"
fi
if [ "${code}" -ne 0 ]; then failed+=(pytest); fi
if [ ${#failed[@]} -gt 0 ]; then
    log "failed: ${failed[*]}" >&2
    if [ "${code}" -eq 0 ]; then code=1; fi
    exit "${code}"
fi
log "all passed"
