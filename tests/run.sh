#!/bin/sh
# Set composer and its tests up, run ruff, mypy and every test, and check that nothing is left behind.
#
#   tests/run.sh                      everything
#   tests/run.sh unit e2e             some tiers: lint unit conformance integration e2e chaos smoke
#   tests/run.sh unit -k resolver -x  a tier with pytest's arguments
#   tests/run.sh tests/unit/plan      just pytest
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
umask 022
exec </dev/null

. "$root/examples/setup.sh"
setup_composer "$root" test

# Programs that the tests use, and the Debian packages that they are in: a real registry, something that fills
# it, something that makes the images.
missing=
for pair in docker-registry:docker-registry skopeo:skopeo mmdebstrap:mmdebstrap; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 ||
        fail "the tests need these programs:$missing" "install them with your system's package manager"
    echo "Installing Debian packages that the tests need:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing; } >/dev/null ||
        fail "apt-get could not install:$missing"
fi

exec "$root/.venv/bin/python" "$root/tests/tiers.py" "$@"
