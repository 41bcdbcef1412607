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

# A real registry, what fills it, and what makes the images.
install_debian_packages docker-registry skopeo mmdebstrap

exec "$root/.venv/bin/python" "$root/tests/tiers.py" "$@"
