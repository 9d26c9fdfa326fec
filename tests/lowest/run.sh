#!/usr/bin/env bash
# Tests with the lowest release of each dependency that pyproject.toml allows: `bash tests/lowest/run.sh [--if-possible]
# [what pytest takes]`.
#
# The environment is .venv-lowest (or the folder in LITEVL_LOWEST_VENV), built from requirements.txt beside this file and
# kept until that changes. The Python is that of the variable PYTHON, or the first of 3.10, 3.11 and 3.12 that is found.
# Where there is none, or packages can't be had, that is an error, and with --if-possible one line.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")
source "$root/tests/support/pinned_environment.sh"
venv=${LITEVL_LOWEST_VENV:-$root/.venv-lowest}

if_possible=false
if [[ ${1:-} == --if-possible ]]; then
    if_possible=true
    shift
fi

impossible() {
    if $if_possible; then
        echo "tests/lowest: $1; skipped"
        exit 0
    fi
    echo "tests/lowest: $1" >&2
    exit 1
}

if [[ $(uname -sm) != "Linux x86_64" ]]; then
    impossible "the pins are for Linux on x86-64, this is $(uname -sm)"
fi
python=$(find_python 10 12 python3.10 python3.11 python3.12) ||
    impossible "needs Python 3.10 to 3.12 with venv; ${PYTHON:-what is here} is not that (set PYTHON to its path)"
build_environment "$here/requirements.txt" "$python" "$venv" || impossible "not all packages of requirements.txt can be had"
# Anew each time: the environment may be another clone's.
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e "$root"
"$venv/bin/python" -m pip check

cd "$root"
if [[ $# == 0 ]]; then
    # What uses each dependency: the loaders, adapters and their files, decoding, tables and figures, search, and each
    # task's recipe from its command line on. Not what asks more than the lowest: test_compile (transformers 5.0 on
    # torch 2.6 cannot be traced), peft's `exclude_modules` (0.14).
    set -- tests/lowest tests/adapters/test_{artifact,blip_classes,contract,hub}.py tests/litevl/blip \
        tests/litevl/commands tests/litevl/data/test_{video,frame_store,feature_store,decoding_process,paths,own}.py \
        tests/litevl/evilm tests/litevl/search tests/litevl/test_plots.py tests/litevl/training tests/recipes/test_msrvtt_{retrieval,qa,captioning}.py
fi
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
# Annotations are enforced in the main environment. Warnings of old releases about themselves are not ours to mend.
export JAXTYPING_DISABLE=1
exec "$venv/bin/python" -m pytest -m 'not slow and not interrupted' -o filterwarnings=$'ignore\nerror:::litevl' \
    -o cache_dir="$venv/.pytest_cache" -o tmp_path_retention_policy=none "$@"
