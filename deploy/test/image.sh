#!/bin/sh
# Makes an image of what the checks run: image.sh <stage of the Dockerfile> [option of docker build …]
# Prints the output of a stage that failed.
set -eu

cd "$(dirname "$0")/../.."
stage=$1
shift
mkdir -p .state
# An old client builds with BuildKit only when it is told to.
export DOCKER_BUILDKIT=1
build() { # <log> <option of docker build …>
    log=.state/$1.log
    shift
    docker build --progress plain "$@" >"$log" 2>&1 || {
        deploy/build-log.sh "$log"
        return 1
    }
}

rust=$(sed -n 's/^RUST_IMAGE=//p' .env 2>/dev/null || true)
build toolbox --tag boxoffice/toolbox ${rust:+--build-arg "RUST_IMAGE=$rust"} \
    --build-arg PIP_INDEX_URL --build-arg HTTP_PROXY --build-arg HTTPS_PROXY --build-arg NO_PROXY deploy/toolbox
[ "$stage" = toolbox ] || build "$stage" --file deploy/test/Dockerfile --target "$stage" --tag "boxoffice/$stage" "$@" .
