#!/bin/sh
# Makes all images of the stack: those of other people's parts, unless a registry
# has them, and our own, which compile meanwhile. In a terminal it shows how far
# that is; elsewhere it is silent, and what fails is told by what it printed.
set -eu

cd "$(dirname "$0")/.."
# An old client builds with BuildKit only when it is told to.
export DOCKER_BUILDKIT=1
log=.state/services.log
mkdir -p .state
build() { # [service …]
    if [ -t 1 ]; then
        docker compose build "$@"
    else
        docker compose --progress plain build "$@" >"$log" 2>&1 || {
            sed -n 's/^#[0-9]* [0-9][0-9.]* //p' "$log" | tail -n 100
            tail -n 3 "$log"
            return 1
        }
    fi
}

deploy/standin/images.sh compiler
deploy/standin/images.sh >.state/images.log 2>&1 &
others=$!
build identity catalog booking worker bank crowd
wait "$others" || { cat .state/images.log; exit 1; }
cat .state/images.log
build
