#!/bin/sh
# Looks whether this machine can run the stack, before anything is built. For each
# thing that is in the way it prints one sentence with the way out; then it exits
# with 1.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

# What the whole stack takes (docs/benchmarks.md), in MB, with room for Grafana.
memory_mb=2000
# In GB: images and the builder's caches; what a stack that is built writes until it
# removes the oldest of it (base backups and archived WAL, BACKUP_MAX_MB; the nodes' own
# WAL, time series, logs);
# and what a build takes while the stack runs.
first_disk_gb=10
disk_gb=6
running_disk_gb=2

found=0
cannot() {
    printf 'machine: %s\n' "$*" >&2
    found=1
}

# A setting as Compose reads it: from the environment, else from .env.
setting() { # <from the environment> <name> <default>
    value=$1
    [ -n "$value" ] || value=$(sed -n "s/^$2=//p" .env 2>/dev/null | tail -n 1 | tr -d "\"'")
    printf '%s' "${value:-$3}"
}
port=$(setting "${BOXOFFICE_PORT:-}" BOXOFFICE_PORT 8080)
network=$(setting "${BOXOFFICE_NETWORK:-}" BOXOFFICE_NETWORK 10.83.0)
project=$(setting "${COMPOSE_PROJECT_NAME:-}" COMPOSE_PROJECT_NAME boxoffice)

# Only of an engine on this Linux do the files below /proc speak. One in a virtual
# machine or elsewhere has other memory, disks and routes.
is_local=
case "${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)}" in
'' | unix://*)
    [ "$(uname -s)" != Linux ] \
        || [ "$(docker info --format '{{.OperatingSystem}}' 2>/dev/null)" = 'Docker Desktop' ] || is_local=yes
    ;;
esac

look_at_versions() {
    # Docker 20.10 speaks version 1.41 of its API, and other engines say which they speak.
    api=$(docker version --format '{{.Server.APIVersion}}' 2>/dev/null) || true
    "$here/at-least.sh" 1.41 "$api" \
        || cannot "the engine speaks version ${api:-unknown} of Docker's API, and 1.41 is needed: update it to Docker 20.10 or newer"
    compose=$(docker compose version --short 2>/dev/null) || true
    "$here/at-least.sh" 2.24.5 "$compose" \
        || cannot "this is Compose ${compose:-unknown}, which cannot read the compose files: update its plugin to 2.24.5 or newer"
}

# Whether something listens where the port would be published.
is_taken() {
    if [ -r /proc/net/tcp ]; then
        cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port=":$(printf '%04X' "$port")" '
            BEGIN {
                any = "00000000"
                is["0100007F"]; is[any]; is[any any any any]
                is["0000000000000000FFFF00000100007F"]
            }
            $4 == "0A" && substr($2, length($2) - 4) == port && (substr($2, 1, length($2) - 5) in is) { taken = 1 }
            END { exit !taken }'
    elif command -v lsof >/dev/null 2>&1; then
        lsof -nP -iTCP:"$port" -sTCP:LISTEN >/dev/null 2>&1
    else
        false
    fi
}

look_at_port() {
    case "$port" in
    '' | *[!0-9]*)
        cannot "BOXOFFICE_PORT is $port, which is no number of a port"
        return
        ;;
    esac
    other="choose another: BOXOFFICE_PORT=18080 make up"
    # The name of the container that publishes it, and its project's.
    publisher=$(docker ps --filter "publish=$port" --format '{{.Names}} {{.Label "com.docker.compose.project"}}' 2>/dev/null | head -n 1) || true
    case "$publisher" in
    *" $project") ;;
    ?*) cannot "port $port is published by the container ${publisher%% *}: stop that, or $other" ;;
    *) ! is_taken || cannot "port $port is taken by another program: stop that, or $other" ;;
    esac
}

# Prints what of the standard input overlaps the addresses that the stack's networks
# share: lines of a name and networks such as 10.83.0.0/24.
overlapping() {
    awk -v ours="$network.0/24" '
        function start(cidr, part) { split(cidr, part, /[.\/]/); return ((part[1] * 256 + part[2]) * 256 + part[3]) * 256 + part[4] }
        function size(cidr, part) { split(cidr, part, "/"); return 2 ^ (32 - part[2]) }
        { for (i = 2; i <= NF; i++)
            if ($i !~ /:/ && start($i) < start(ours) + size(ours) && start(ours) < start($i) + size($i)) print $1, $i }'
}

# The routes of this machine, as names of devices and networks. A wider network than
# ours, such as that of a tunnel, gives way to ours and is left out.
narrow_routes() {
    awk 'function byte(hex) { return (index(digits, substr(hex, 1, 1)) - 1) * 16 + index(digits, substr(hex, 2, 1)) - 1 }
        BEGIN { digits = "0123456789ABCDEF" }
        # The lowest byte of an address comes first.
        NR > 1 && substr($8, 3, 6) == "FFFFFF" {
            bits = 24
            for (last = byte(substr($8, 1, 2)); last > 0; last = (last * 2) % 256) bits++
            print $1, byte(substr($2, 7, 2)) "." byte(substr($2, 5, 2)) "." byte(substr($2, 3, 2)) "." byte(substr($2, 1, 2)) "/" bits
        }' /proc/net/route
}

look_at_network() {
    printf '%s\n' "$network" | grep -qx '[0-9]\{1,3\}\.[0-9]\{1,3\}\.[0-9]\{1,3\}' || {
        cannot "BOXOFFICE_NETWORK is $network, and not the first three numbers of a network, such as 10.83.0"
        return
    }
    # The stack's own, of an earlier start, have these addresses already.
    own=$(docker network ls --quiet --filter "label=com.docker.compose.project=$project" 2>/dev/null) || true
    [ -z "$own" ] || return 0
    # shellcheck disable=SC2046
    other=$(docker network inspect --format '{{.Name}}{{range .IPAM.Config}} {{.Subnet}}{{end}}' \
        $(docker network ls --quiet 2>/dev/null) 2>/dev/null | overlapping | head -n 1) || true
    if [ -z "$other" ] && [ -n "$is_local" ] && [ -r /proc/net/route ]; then
        other=$(narrow_routes | overlapping | head -n 1)
    fi
    [ -z "$other" ] \
        || cannot "the network $network.0/24 overlaps that of ${other% *} (${other##* }): remove that, or choose another: BOXOFFICE_NETWORK=10.84.0 make up"
}

# What the stack itself has taken is not counted against it.
runs() { [ -n "$(docker ps --quiet --filter "label=com.docker.compose.project=$project" 2>/dev/null)" ]; }

look_at_memory() {
    total=$(docker info --format '{{.MemTotal}}' 2>/dev/null) || true
    case "$total" in '' | *[!0-9]*) return ;; esac
    total=$((total / 1000000))
    [ "$total" -ge "$memory_mb" ] || {
        cannot "the engine has $total MB of memory, and the stack needs $memory_mb: give it more"
        return
    }
    [ -n "$is_local" ] && ! runs || return 0
    free=$(awk '$1 == "MemAvailable:" { printf "%d", $2 / 1000 }' /proc/meminfo)
    [ -z "$free" ] || [ "$free" -ge "$memory_mb" ] \
        || cannot "$free MB of memory are free, and the stack needs $memory_mb: end other programs, or other containers (docker ps)"
}

look_at_disk() {
    folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null) || true
    [ -n "$is_local" ] && [ -d "$folder" ] || return 0
    needed=$first_disk_gb
    ! docker image inspect boxoffice/booking >/dev/null 2>&1 || needed=$disk_gb
    ! runs || needed=$running_disk_gb
    free=$(df -Pk "$folder" 2>/dev/null | awk 'NR == 2 { printf "%d", $4 / 1000000 }') || true
    [ -z "$free" ] || [ "$free" -ge "$needed" ] \
        || cannot "$free GB are free in $folder, and $needed are needed: remove something, such as what no container uses (docker system prune)"
}

look_at_versions
look_at_port
look_at_network
look_at_memory
look_at_disk
"$here/readable.sh" || found=1
exit "$found"
