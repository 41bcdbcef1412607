# Sourced by run.sh of the examples and of the tests: checks the machine and sets composer up in .venv.

fail() {
    echo "$1" >&2
    [ $# -lt 2 ] || echo "  $2" >&2
    exit 1
}

# Whether a Python is new enough and can make virtual environments.
is_usable() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# setup_composer ROOT EXTRAS: installs what is in ROOT into ROOT/.venv, unless it is there already.
setup_composer() {
    [ "$(uname -s)" = Linux ] || fail "composer needs Linux; this is $(uname -s)"
    [ "$(id -u)" = 0 ] || fail "composer needs root: it makes namespaces, mounts and networks" \
        "run this with sudo, or as root in a machine of your own"
    python=
    for name in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if is_usable "$name"; then python=$name && break; fi
    done
    [ -n "$python" ] || fail "composer needs Python 3.11 or newer with its venv module; python3 here is: $(
        python3 -V 2>/dev/null || echo missing)" "on Debian or Ubuntu: apt-get install python3-venv"

    if ! is_usable "$1/.venv/bin/python"; then
        rm -rf "$1/.venv"
        "$python" -m venv "$1/.venv" || fail "cannot make a virtual environment in $1/.venv"
    fi
    # What is installed is what pyproject.toml asks for; once that changes, it is asked again.
    wanted="$1 $(cksum < "$1/pyproject.toml")"
    if [ "$(cat "$1/.venv/composer-installed" 2>/dev/null)" != "$wanted" ]; then
        echo "Installing composer and what it needs into $1/.venv (once)"
        rm -f "$1/.venv/composer-extras"
        install_composer "$1" ""
        printf '%s\n' "$wanted" > "$1/.venv/composer-installed"
    fi
    if [ -n "$2" ] && ! [ -e "$1/.venv/composer-extras" ]; then
        echo "Installing what the tests need into $1/.venv (once)"
        install_composer "$1" "[$2]"
        : > "$1/.venv/composer-extras"
    fi
}

install_composer() {
    "$1/.venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input \
        --editable "$1$2" </dev/null ||
        fail "pip could not install composer; its message is above" \
            "it needs a Python package index: check the network, or pip's configuration"
    # An editable installation is not compiled by pip; a command would pay for that each time.
    "$1/.venv/bin/python" -m compileall -q "$1/composer" "$1/runtime"
}

# install_debian_packages PROGRAM[:PACKAGE]...: the packages whose program is missing.
install_debian_packages() {
    missing=
    for name in "$@"; do
        command -v "${name%%:*}" >/dev/null 2>&1 || missing="$missing ${name#*:}"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 ||
        fail "these packages are needed:$missing" "install them with this system's package manager"
    echo "Installing Debian packages:$missing"
    # shellcheck disable=SC2086
    (
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing
    ) >/dev/null </dev/null || fail "apt-get could not install:$missing"
}
