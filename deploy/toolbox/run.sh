#!/bin/sh
# Runs a command in a container of the toolbox:
#
#   run.sh [--image <image>] [--engine] [--stack <project>] <command …>
#
# --image   another image that is made from the toolbox's, such as the one with the tests
# --engine  with the engine's socket: for faults, which are made on real containers, and for
#           compose commands. It is root on this machine, so nothing else gets it.
# --stack   joined to a running compose project: all its networks, its secrets, and the settings
#           that tests read
#
# The tree is where it is outside too, so that compose commands mean the same in here.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
image=boxoffice/toolbox
options='--init --interactive'
[ ! -t 0 ] || [ ! -t 1 ] || options="$options --tty"
join=
networks=
while :; do
    case "$1" in
    --image)
        image=$2
        shift 2
        ;;
    --engine)
        socket=$("$here/../engine/socket.sh")
        options="$options --volume $socket:/var/run/docker.sock"
        shift
        ;;
    --stack)
        networks=$(docker network ls --filter "label=com.docker.compose.project=$2" --format '{{.Name}}')
        [ -n "$networks" ] || { echo "toolbox: $2 is not up" >&2; exit 1; }
        options="$options --volume ${2}_secrets:/run/secrets:ro --env BOXOFFICE_PROJECT=$2"
        options="$options --dns-option timeout:1 --dns-option attempts:1"
        join=$here/join.sh
        shift 2
        ;;
    *) break ;;
    esac
done
[ -z "$join" ] || set -- "$join" "$@"

# The proxies of the user's own settings are for the client, not for what runs in here.
for name in http_proxy https_proxy ftp_proxy all_proxy no_proxy; do
    options="$options --env $name= --env $(echo "$name" | tr a-z A-Z)="
done

# Compose commands in here have to come to the same stack.
# shellcheck source=deploy/settings.sh
. "$root/deploy/settings.sh"
for name in $settings; do options="$options --env $name"; done

# Made, and then started: `docker run` of an engine before 25 joins one network.
# shellcheck disable=SC2086
container=$(docker create --rm $options ${networks:+--network $(echo "$networks" | head -n 1)} --volume "$root:$root" --workdir "$root" \
    --env COLD_STARTS --env RUST_BACKTRACE=1 --env RUST_LIB_BACKTRACE=0 --env PROPTEST_CASES --env FUZZ_EXAMPLES \
    "$image" "$@")
trap 'docker rm --force "$container" >/dev/null' EXIT
for network in $(echo "$networks" | tail -n +2); do docker network connect "$network" "$container"; done
trap - EXIT
exec docker start --attach --interactive "$container"
