#!/bin/sh
# Set composer and its tests up, run ruff, mypy and every test, and check that nothing is left behind.
#
#   tests/run.sh                      everything
#   tests/run.sh unit e2e             some tiers: lint unit conformance integration e2e chaos machine smoke
#   tests/run.sh unit -k resolver -x  a tier with pytest's arguments
#   tests/run.sh tests/unit/plan      just pytest
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
umask 022
exec </dev/null

. "$root/examples/setup.sh"
setup_composer "$root" test

# A real registry, what fills it, what makes its images, what compiles a clock (any C compiler does); and for the tier
# "machine", what makes and runs one.
install_debian_packages docker-registry skopeo mmdebstrap openssl
command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || install_debian_packages tcc
if ! [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    case $(uname -m) in
        x86_64) install_debian_packages qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs ;;
        aarch64) install_debian_packages qemu-system-aarch64:qemu-system-arm mke2fs:e2fsprogs ;;
    esac
fi

exec "$root/.venv/bin/python" "$root/tests/tiers.py" "$@"
