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
requirements=$here/requirements.txt
venv=${LITEVL_LAVIS_VENV:-$root/.venv-lavis}

if_possible=false
if [[ ${1:-} == --if-possible ]]; then
    if_possible=true
    shift
fi

suits() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 12))' 2>/dev/null
}

find_python() {
    local candidate candidates=(python3.11 python3.10 python3 python "$(uv python find '>=3.10,<3.12' 2>/dev/null)")
    if [[ ${PYTHON:-} ]]; then
        candidates=("$PYTHON")
    fi
    for candidate in "${candidates[@]}"; do
        if suits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

if ! python=$(find_python); then
    message="tests/lavis: LAVIS needs Python 3.10 or 3.11 with venv; ${PYTHON:-what is here} is not that"
    if $if_possible; then
        echo "$message; skipped"
        exit 0
    fi
    echo "$message; install one, or set PYTHON to its path" >&2
    exit 1
fi

# What was built from what: an interrupted build has no such file and is built again.
built_from=$("$python" -c 'import hashlib, sys; print(sys.version, hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$requirements")
if [[ $(cat "$venv/built_from" 2>/dev/null) != "$built_from" ]]; then
    echo "tests/lavis: building $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # torch first and with what it needs on this machine; setuptools builds the two packages that have no wheels.
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -c "$requirements" torch setuptools
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -r "$requirements"
    echo "$built_from" >"$venv/built_from"
fi

cd "$root"
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
# Above this folder, conftest.py is for the main environment. LAVIS's own warnings are not ours to mend.
exec "$venv/bin/python" -m pytest tests/lavis --confcutdir=tests/lavis -o filterwarnings=$'ignore\nerror:::litevl' \
    -o addopts='--import-mode=importlib --strict-markers --strict-config -q' \
    -o cache_dir="$venv/.pytest_cache" -o tmp_path_retention_policy=none "$@"
