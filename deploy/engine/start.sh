#!/bin/sh
# Makes sure that a container engine answers, with Compose v2 and buildx.
#
# Where an engine answers, nothing is touched. Where none does, on Debian or
# Ubuntu, as root and with consent (consent.sh), the distribution's own engine is
# installed, then started detached. The way back is stop.sh.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
state=$(cd "$here/../.." && pwd)/.state/engine
pidfile=$state/dockerd.pid
log=$state/dockerd.log
start_bound=60
# Each connection to the published port takes files of the engine: as many as the
# kernel allows a process by default.
most_files=1048576

say() { printf 'engine: %s\n' "$*"; }
fail() { printf 'engine: %s\n' "$*" >&2; exit 1; }

# With a bound where the system can set one; macOS has no `timeout`.
bounded() { if command -v timeout >/dev/null 2>&1; then timeout 10 "$@"; else "$@"; fi; }

answers() { bounded docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# Where the client looks for the engine: DOCKER_HOST, else the context that it uses.
host=${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)}
own_socket=/var/run/docker.sock
host=${host:-unix://$own_socket}

# Whether the process with the id kept in file $1 is a program called $2.
runs() {
    [ -s "$1" ] || return 1
    [ "$(cat "/proc/$(cat "$1")/comm" 2>/dev/null)" = "$2" ]
}

can_install() {
    command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]
}

install_engine() {
    can_install || fail "no container engine answers. Install and start Docker (20.10 or newer), or run this as root on Debian or Ubuntu to have it installed."
    say "no container engine on this machine. The package docker.io brings one (with containerd, runc and iptables); started, it changes the machine's packet filter."
    "$here/consent.sh" 'the package docker.io' \
        || fail "not installed. Run this with INSTALL_ENGINE=1 to have it installed, or install and start Docker (20.10 or newer) yourself."
    say "installing the package docker.io"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null 2>&1 || true
    client=
    # From Debian 13 on the client is a package of its own.
    ! apt-cache show docker-cli >/dev/null 2>&1 || client=docker-cli
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends docker.io $client iptables ca-certificates \
        </dev/null >"$state/install.log" 2>&1 \
        || { tail -n 20 "$state/install.log" >&2; fail "the engine could not be installed"; }
    command -v docker >/dev/null 2>&1 || fail "the engine was installed, its client was not"
}

# An engine that was killed leaves its pid files behind. They name processes
# that are gone, or worse, others that have the same number by now.
forget_the_dead() {
    runs /var/run/docker.pid dockerd || rm -f /var/run/docker.pid
    runs /var/run/docker/containerd/containerd.pid containerd \
        || rm -f /var/run/docker/containerd/containerd.pid
    runs /var/run/docker.pid dockerd || rm -f /var/run/docker.sock
}

wait_for_engine() {
    waited=0
    until answers; do
        waited=$((waited + 1))
        [ "$waited" -le "$start_bound" ] || return 1
        if [ -s "$pidfile" ] && ! runs "$pidfile" dockerd; then return 1; fi
        sleep 1
    done
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        say "starting the engine by systemd"
        systemctl start docker || fail "systemd could not start the engine"
        wait_for_engine || fail "the engine does not answer"
        return
    fi
    [ "$(id -u)" = 0 ] || fail "the engine does not run, and only root may start it"
    rm -f "$pidfile"
    if ! runs /var/run/docker.pid dockerd; then
        forget_the_dead
        say "starting dockerd detached; its log is .state/engine/dockerd.log"
        # The engine's proxy of a published port takes six files a connection, also a
        # half-open one, and ends for good when none is left. So it is left out where the
        # kernel can lead loopback addresses to containers by itself; elsewhere it inherits
        # as many files as may be had.
        proxy=true
        [ ! -w /proc/sys/net/ipv4/conf/all/route_localnet ] || proxy=false
        # shellcheck disable=SC3045 # In dash, bash and busybox.
        ulimit -n "$most_files" 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
        setsid dockerd --log-level warn --userland-proxy="$proxy" </dev/null >>"$log" 2>&1 &
        echo $! >"$pidfile"
    fi
    wait_for_engine || { tail -n 20 "$log" >&2; fail "the engine did not answer within ${start_bound} s"; }
}

mkdir -p "$state"
if ! answers; then
    socket=${host#unix://}
    [ ! -S "$socket" ] || [ -w "$socket" ] || fail "an engine runs here, and this user may not use it: permission denied on $socket"
    # Only the engine of the usual socket is ours to start.
    [ "$socket" = "$own_socket" ] || fail "the engine at $host does not answer. Start it, or choose another by DOCKER_HOST or docker context use."
    command -v docker >/dev/null 2>&1 && command -v dockerd >/dev/null 2>&1 || install_engine
    answers || start_engine
fi
"$here/plugins.sh"
