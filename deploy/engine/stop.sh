#!/bin/sh
# Ends the engine that start.sh started, and no other.
set -eu

pidfile=$(cd "$(dirname "$0")/../.." && pwd)/.state/engine/dockerd.pid
[ -s "$pidfile" ] || exit 0
pid=$(cat "$pidfile")
if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
    kill "$pid"
    waited=0
    while [ -d "/proc/$pid" ] && [ "$waited" -lt 30 ]; do
        waited=$((waited + 1))
        sleep 1
    done
fi
rm -f "$pidfile"
