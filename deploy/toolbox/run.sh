#!/bin/sh
# Runs a command in a container of the toolbox:
#
#   run.sh [--image <image>] [--engine] [--stack <project>] <command …>
#
# --image   another image that is made from the toolbox's, such as the one with the tests
# --engine  with the engine's socket: for faults, which are made on real containers, and for
#           compose commands. It is root on this machine, so nothing else gets it.
# --stack   joined to a running compose project: its network, its secrets, and the settings
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
        options="$options --network ${2}_default --volume ${2}_secrets:/run/secrets:ro --env BOXOFFICE_PROJECT=$2"
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

# shellcheck disable=SC2086
exec docker run --rm $options --volume "$root:$root" --workdir "$root" \
    --env COLD_STARTS --env RUST_BACKTRACE=1 --env RUST_LIB_BACKTRACE=0 --env PROPTEST_CASES --env FUZZ_EXAMPLES \
    "$image" "$@"
