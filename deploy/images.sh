#!/bin/sh
# Makes all images of the stack: those of other people's parts, unless a registry
# has them, and our own, which compile meanwhile. In a terminal it shows the
# progress; elsewhere it prints only the output of a build that failed.
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
            deploy/build-log.sh "$log"
            return 1
        }
    fi
}

deploy/standin/images.sh compiler
deploy/standin/images.sh >.state/images.log 2>&1 &
others=$!
ours=0
build identity catalog booking worker bank crowd || ours=$?
wait "$others" || { cat .state/images.log; exit 1; }
[ "$ours" = 0 ] || exit "$ours"
cat .state/images.log
build
