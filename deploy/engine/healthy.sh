#!/bin/sh
# Waits until the containers of these services, or of the whole project, are healthy:
# healthy.sh <seconds> [service …].
#
# It runs their health checks itself, because an engine before 25 looks at a container
# for the first time after the whole interval of its check. What has no check has to
# run; what runs once has to have succeeded.
set -eu

deadline=$(($(date +%s) + $1))
shift

is_healthy() { # <container>
    state=$(docker inspect --format '{{.State.Running}} {{.HostConfig.RestartPolicy.Name}} {{.State.ExitCode}}' "$1")
    case "$state" in
    true*) ;;
    'false no 0' | 'false  0') return 0 ;;
    *) return 1 ;;
    esac
    container=$1
    # A word a line.
    check=$(docker inspect --format '{{with .Config.Healthcheck}}{{range .Test}}{{println .}}{{end}}{{end}}' "$1")
    [ -n "$check" ] || return 0
    IFS='
'
    # shellcheck disable=SC2086
    set -- $check
    unset IFS
    kind=$1
    shift
    [ "$kind" != CMD-SHELL ] || set -- sh -c "$1"
    docker exec "$container" "$@" >/dev/null 2>&1 </dev/null
}

for one in $(docker compose ps --all --quiet "$@"); do
    until is_healthy "$one"; do
        if [ "$(date +%s)" -gt "$deadline" ]; then
            docker inspect --format 'not healthy in time: {{.Name}} ({{.State.Status}})' "$one" >&2
            exit 1
        fi
        sleep 1
    done
done
