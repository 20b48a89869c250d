#!/bin/sh
# Prepares a Debian machine for the demo and the lab tests.
#
#   setup.sh venv PYTHON DIR   a virtual environment in DIR (with python3-venv from apt if it is missing)
#   setup.sh system            the programs that the tests run: Prosody, ejabberd, nftables, coturn, ...
#   setup.sh browser           Chromium, in which the tests look at pages, and what these pages need
#
# Packages are only installed by root and only if missing; services are not started by the
# installation. What cannot be installed is said in one line, and the exit status is still 0 for
# `system`: the demo falls back to what is there, and the lab tests say what they miss.
set -eu

apt_install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing: $*; install them as root: apt-get install $*" >&2
        return 1
    fi
    # A policy file that denies every start keeps Debian from starting the services it installs.
    policy=/usr/sbin/policy-rc.d
    made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        made=yes
    fi
    status=0
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@"; } >/tmp/jingle-nodes-apt.$$ 2>&1 || status=$?
    [ -z "$made" ] || rm -f $policy
    if [ $status != 0 ]; then
        tail -n 3 /tmp/jingle-nodes-apt.$$ >&2
        echo "could not install $*: see the lines above; fix apt and run make again" >&2
    fi
    rm -f /tmp/jingle-nodes-apt.$$
    return $status
}

venv() {
    python=$1
    dir=$2
    command -v "$python" >/dev/null || {
        echo "$python is not here; install Python 3.11 or newer, or name one: make PYTHON=..." >&2
        exit 1
    }
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "$python is older than 3.11; name a newer one: make PYTHON=python3.12" >&2
        exit 1
    }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
    "$python" -m venv "$dir"
}

# Keeps units that are about to be installed from starting with the next boot.
mask() {
    for unit in "$@"; do
        [ "$(id -u)" != 0 ] || [ -e "/etc/systemd/system/$unit" ] || {
            mkdir -p /etc/systemd/system
            ln -s /dev/null "/etc/systemd/system/$unit"
        }
    done
}

system() {
    packages=
    command -v ip >/dev/null || packages="$packages iproute2"
    PATH=$PATH:/usr/sbin:/sbin command -v nft >/dev/null || packages="$packages nftables"
    command -v prosody >/dev/null || packages="$packages prosody"
    command -v turnserver >/dev/null || {
        packages="$packages coturn"
        mask coturn.service
    }
    PATH=$PATH:/usr/sbin:/sbin command -v rtpengine >/dev/null || {
        packages="$packages rtpengine-daemon"
        mask rtpengine-daemon.service
    }
    PATH=$PATH:/usr/sbin:/sbin command -v miniupnpd >/dev/null || {
        packages="$packages miniupnpd miniupnpd-nftables"
        mask miniupnpd.service # it would open ports on a machine that is no router
    }
    PATH=$PATH:/usr/sbin:/sbin command -v ejabberdctl >/dev/null || {
        packages="$packages ejabberd"
        mask ejabberd.service epmd.service epmd.socket
    }
    command -v systemd-analyze >/dev/null || packages="$packages systemd"
    # shellcheck disable=SC2086  # a list of package names
    [ -z "$packages" ] || apt_install $packages || true
}

browser() {
    # The driver depends on the browser of its own version.
    command -v chromedriver >/dev/null || apt_install chromium-driver || true
    web=$(dirname "$0")/../../tests/lab/web
    [ ! "$web/node_modules/.package-lock.json" -nt "$web/package-lock.json" ] || return 0
    command -v npm >/dev/null || apt_install npm || return 0
    (cd "$web" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) ||
        echo "could not install what a page of the tests needs: see the lines above" >&2
}

case ${1:-} in
venv) venv "$2" "$3" ;;
system) system ;;
browser) browser ;;
*)
    sed -n '2,11p' "$0"
    exit 2
    ;;
esac
