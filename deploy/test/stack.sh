#!/bin/sh
# A stack of its own for tests and benchmarks: own project, port, network and
# volumes, so that one which a user has up is never touched.
#
#   stack.sh up <name>        starts it from nothing, and waits until it would sell
#   stack.sh refresh <name>   the same, but keeps what runs and is not out of date
#   stack.sh run <name> …     runs a command joined to it: options of toolbox/run.sh, then the command
#   stack.sh logs <name>      prints the end of every container's log
#   stack.sh down <name>      takes it down, volumes included
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
action=$1
name=$2

case "$name" in
# With the gentle crowd: some panels show what it does, and faults must not harm it.
test-[1-9]) port=1808${name#test-} network=10.83.1${name#test-} crowd=on ;;
bench) port=18090 network=10.83.3 crowd=off ;;
*) echo "stack: no such stack: $name" >&2; exit 64 ;;
esac
project=boxoffice-$name
export BOXOFFICE_PORT=$port BOXOFFICE_NETWORK=$network
export BACKGROUND_CROWD=${BACKGROUND_CROWD:-$crowd}
export HOLD_SECONDS=${HOLD_SECONDS:-20} SETTLEMENT_SECONDS=${SETTLEMENT_SECONDS:-10}
# One customer of a scenario holds as many seats as a hundred others would.
export SEATS_PER_ACCOUNT=${SEATS_PER_ACCOUNT:-500}
# All customers of all scenarios come from one address.
export PASSWORD_HASHES_PER_SECOND=${PASSWORD_HASHES_PER_SECOND:-1000}
export SESSIONS_PER_ADDRESS=${SESSIONS_PER_ADDRESS:-40000}
# Named here with their defaults, so that what stands in the user's .env is not
# taken for this stack.
export LEASE_SECONDS=${LEASE_SECONDS:-5} SWEEP_SECONDS=${SWEEP_SECONDS:-1}
export VISIBILITY_SECONDS=${VISIBILITY_SECONDS:-10} RESEND_SECONDS=${RESEND_SECONDS:-10}
export EVENT_KEEP_HOURS=${EVENT_KEEP_HOURS:-24} LOG=${LOG:-info}
export MOST_SESSIONS=${MOST_SESSIONS:-40000}
# And no test writes to the user's second repository.
export BACKUP_KEEP_DAYS=${BACKUP_KEEP_DAYS:-2} BACKUP_MAX_MB=${BACKUP_MAX_MB:-2048} BACKUP_REPO2=
export DOOR_SIGN_INS_PER_SECOND=${DOOR_SIGN_INS_PER_SECOND:-200} DOOR_CONNECTIONS=${DOOR_CONNECTIONS:-1024}
case "$name" in
bench) export DOOR_REQUESTS_PER_SECOND=${DOOR_REQUESTS_PER_SECOND:-1000000} ;;
*) export DOOR_REQUESTS_PER_SECOND=${DOOR_REQUESTS_PER_SECOND:-2000} ;;
esac
# shellcheck source=deploy/settings.sh
. deploy/settings.sh
for setting in $settings; do eval ": \"\${$setting?has no value for a stack of tests}\""; done

compose() { docker compose --project-name "$project" "$@"; }
down() { compose down --volumes --remove-orphans --timeout 10 >/dev/null 2>&1; }

# In the background, so that a signal ends it at once.
logged() {
    "$@" >>"$log" 2>&1 &
    child=$!
    trap 'kill "$child" 2>/dev/null; wait "$child"; exit 143' INT TERM
    wait "$child"
}
up() {
    log=$root/.state/$name-up.log
    : >"$log"
    export COMPOSE_PROJECT_NAME="$project"
    deploy/engine/readable.sh || exit
    deploy/networks.sh "$project"
    if logged docker compose up --detach --no-build && logged deploy/engine/healthy.sh "${WAIT_SECONDS:-300}"; then
        return
    fi
    tail -n 20 "$log"
    compose ps --all --format 'table {{.Service}}\t{{.Status}}'
    exit 1
}

case "$action" in
up)
    down || true
    up
    ;;
refresh) up ;;
run)
    shift 2
    exec deploy/toolbox/run.sh --stack "$project" "$@"
    ;;
logs)
    compose ps --all --format 'table {{.Name}}\t{{.Status}}'
    for container in $(compose ps --all --format '{{.Name}}'); do
        echo "--- $container"
        docker logs --tail "${LOG_LINES:-30}" "$container" 2>&1 | cut -c1-600
    done
    ;;
down) down ;;
*) echo "stack: up, refresh, run, logs or down, not $action" >&2; exit 64 ;;
esac
