# Sourced by the run.sh of tests/lavis and of tests/lowest: an environment of pinned packages, built once and then kept.

# The Python of the variable PYTHON, or the first of some commands, from version 3.$1 to 3.$2.
find_python() {
    local first=$1 last=$2 candidate
    shift 2
    local candidates=("$@" python3 python "$(uv python find ">=3.$first,<3.$((last + 1))" 2>/dev/null)")
    if [[ ${PYTHON:-} ]]; then
        candidates=("$PYTHON")
    fi
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c "import ensurepip, sys, venv; sys.exit(not $first <= sys.version_info[1] <= $last)" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Builds the environment $3 with the Python $2 from the pins $1, unless it was built from just these.
build_environment() {
    local requirements=$1 python=$2 venv=$3 built_from
    # An interrupted build has no such file and is built again.
    built_from=$("$python" -c 'import hashlib, sys; print(sys.version, hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$requirements")
    if [[ $(cat "$venv/built_from" 2>/dev/null) == "$built_from" ]]; then
        return
    fi
    echo "building $venv with $("$python" --version)"
    rm -rf "$venv"
    # torch first and with what it needs on this machine; setuptools builds the packages that have no wheels.
    "$python" -m venv "$venv" &&
        "$venv/bin/python" -m pip install -q --disable-pip-version-check -c "$requirements" torch setuptools &&
        "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -r "$requirements" &&
        echo "$built_from" >"$venv/built_from"
}
