#!/usr/bin/env bash
# Makes the folder of a new recipe, with links to the template's scripts and its own
# cmd.sh, like ESPnet's TEMPLATE/*/setup.sh.
set -euo pipefail

die() {
    echo "setup.sh: error: $*" >&2
    exit 2
}

if [ $# -ne 1 ] || [[ $1 == -* ]]; then
    die "usage: egs2/TEMPLATE/mtasr1/setup.sh egs2/CORPUS/mtasr1"
fi
template=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
mkdir -p "$1"
recipe=$(cd "$1" && pwd -P)
if [ "${recipe}" = "${template}" ]; then die "$1 is the template itself"; fi
to_template=$(realpath --relative-to "${recipe}" "${template}")

for name in mtasr.sh path.sh db.sh utils; do
    if [ -e "${recipe}/${name}" ] && [ ! -L "${recipe}/${name}" ]; then
        die "${recipe}/${name} exists and is not a link: remove it first"
    fi
    ln -sfn "${to_template}/${name}" "${recipe}/${name}"
done
if [ ! -e "${recipe}/cmd.sh" ]; then cp "${template}/cmd.sh" "${recipe}/cmd.sh"; fi
mkdir -p "${recipe}/conf" "${recipe}/local"
echo "Created ${recipe}; next, write local/data.sh (stage 1), conf/*.yaml and run.sh"
