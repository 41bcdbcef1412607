#!/bin/sh
# Make the shop's images (a few minutes, once), serve them from a registry on 127.0.0.1:5577, and run the shop.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
cache=$root/.cache/shop
umask 022

. "$root/examples/setup.sh"
setup_composer "$root" ""
install_debian_packages docker-registry skopeo mmdebstrap

cd "$here"
mkdir -p "$cache"
if ! [ -e .env ]; then
    echo "DB_PASSWORD=$("$root/.venv/bin/python" -c 'import secrets; print(secrets.token_hex(16))')" > .env
fi
if ! kill -0 "$(cat "$cache/registry.pid" 2>/dev/null || echo none)" 2>/dev/null; then
    cat > "$cache/registry.yml" <<END
version: 0.1
storage: { filesystem: { rootdirectory: $cache/registry } }
http: { addr: "127.0.0.1:5577" }
END
    setsid docker-registry serve "$cache/registry.yml" > "$cache/registry.log" 2>&1 < /dev/null &
    echo $! > "$cache/registry.pid"
fi
"$root/.venv/bin/python" images.py "$cache/images" 127.0.0.1:5577

composer=$root/.venv/bin/composer
"$composer" up -d --wait
echo
"$composer" ps -a
address=$("$composer" port web 8000)
echo
echo "http://$address says:"
"$root/.venv/bin/python" -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())' \
    "http://$address/"
cat <<END
It runs. Things to try, in examples/shop:

    export PATH=$root/.venv/bin:\$PATH
    composer exec db psql -U shop shop -c 'SELECT * FROM product'
    composer logs -f
    composer down                       the data stay; with -v they go too
    kill $(cat "$cache/registry.pid")              ends the registry
END
