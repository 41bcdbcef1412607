#!/bin/sh
# Set composer up in .venv and run the quickstart stack. Run it again at will.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
umask 022

. "$root/examples/setup.sh"
setup_composer "$root" ""

cd "$here"
composer=$root/.venv/bin/composer
"$composer" up -d --wait
echo
"$composer" ps
address=$("$composer" port web 8000)
echo
echo "http://$address says:"
"$root/.venv/bin/python" -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())' \
    "http://$address/"
cat <<END
It runs. Things to try, in examples/quickstart:

    export PATH=$root/.venv/bin:\$PATH
    composer logs -f                    what the services write
    composer up -d --scale worker=4     two more workers
    composer exec store sh              a shell in a container
    composer down                       stop and remove all but the data (-v: the data too)
END
