#!/usr/bin/env bash
# Tests with LAVIS's real classes: `bash tests/lavis/run.sh [--if-possible] [what pytest takes]`.
#
# LAVIS 1.0.2 needs transformers < 4.27 and Python < 3.12, so it has an environment of its own: .venv-lavis (or the folder
# in LITEVL_LAVIS_VENV), built from requirements.txt beside this file and kept until that changes. The Python is that of
# the variable PYTHON, or the first 3.11 or 3.10 that is found; where there is none, that is an error, and with
# --if-possible one line.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")
source "$root/tests/support/pinned_environment.sh"
requirements=$here/requirements.txt
venv=${LITEVL_LAVIS_VENV:-$root/.venv-lavis}

if_possible=false
if [[ ${1:-} == --if-possible ]]; then
    if_possible=true
    shift
fi

if ! python=$(find_python 10 11 python3.11 python3.10); then
    message="tests/lavis: LAVIS needs Python 3.10 or 3.11 with venv; ${PYTHON:-what is here} is not that"
    if $if_possible; then
        echo "$message; skipped"
        exit 0
    fi
    echo "$message; install one, or set PYTHON to its path" >&2
    exit 1
fi

build_environment "$requirements" "$python" "$venv"

cd "$root"
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
# Above this folder, conftest.py is for the main environment. LAVIS's own warnings are not ours to mend.
exec "$venv/bin/python" -m pytest tests/lavis --confcutdir=tests/lavis -o filterwarnings=$'ignore\nerror:::litevl' \
    -o addopts='--import-mode=importlib --strict-markers --strict-config -q' \
    -o cache_dir="$venv/.pytest_cache" -o tmp_path_retention_policy=none "$@"
