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
    # What uses each dependency, and a run of each task from end to end. What asks more than the lowest is not there: what
    # safetensors knows of complex numbers, torch.compile (transformers 5.0 on torch 2.6 cannot be traced), and peft's
    # `exclude_modules` (0.14), which the advice on LoRA beside adapters names.
    recipe=tests/recipes/test_msrvtt_retrieval.py
    set -- tests/lowest tests/adapters/test_{artifact,blip_classes}.py tests/litevl/blip/test_load.py \
        tests/litevl/commands/test_{prepare,validate}.py tests/litevl/test_plots.py::TestPooling \
        tests/litevl/data/test_{video,frame_store,feature_store,decoding_process,own}.py \
        tests/litevl/search/test_{index,store}.py tests/litevl/training/test_fit.py \
        "$recipe"::test_{a_run_writes_all_that_another_needs,whatever_is_trained_comes_back_from_the_folder,tensorboard} \
        "$recipe"::TestCommandLine tests/recipes/test_msrvtt_qa.py::test_a_run_reports_every_type_of_question_with_its_ceiling \
        --deselect tests/adapters/test_artifact.py::TestRefusals::test_numbers_that_a_copy_would_make_others
fi
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
# Annotations are enforced in the main environment. Warnings of old releases about themselves are not ours to mend.
export JAXTYPING_DISABLE=1
exec "$venv/bin/python" -m pytest -m 'not slow' -o filterwarnings=$'ignore\nerror:::litevl' \
    -o cache_dir="$venv/.pytest_cache" -o tmp_path_retention_policy=none "$@"
