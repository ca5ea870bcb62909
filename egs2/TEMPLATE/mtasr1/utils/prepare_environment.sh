#!/usr/bin/env bash
# Before the first stage: creates the environment with tools/setup.sh, in the repository
# of the package. Elsewhere, for instance in an ESPnet checkout into which TEMPLATE was
# copied, it checks that the package is installed.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(cd "${here}/../../../.." && pwd)
if [ -d "${root}/espnet_mtasr" ] && [ -f "${root}/tools/setup.sh" ]; then
    exec "${root}/tools/setup.sh"
fi
. "${here}/../path.sh"
python -c '
import importlib.util
import sys

sys.exit(any(not importlib.util.find_spec(name) for name in ("espnet2", "espnet_mtasr")))
' || {
    echo "prepare_environment.sh: error: $(command -v python || echo 'no python') has not" \
        "both espnet and espnet_mtasr; activate ESPnet's environment, and run" \
        "pip install in the folder of espnet_mtasr's setup.py" >&2
    exit 2
}
