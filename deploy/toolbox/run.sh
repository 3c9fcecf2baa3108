#!/bin/sh
# Runs a command in the toolbox: run.sh <project or -> <command …>
#
# The source is where it is outside too, so that compose commands mean the same
# in here; what cargo fetched and compiled lives on volumes. With the name of a
# running compose project it joins that stack: its network, its secrets, and the
# settings that the tests ask for. The engine's socket is there because faults
# are made on real containers.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
project=$1
shift

# An old client builds with BuildKit only when it is told to.
export DOCKER_BUILDKIT=1
image=boxoffice/toolbox
rust=$(sed -n 's/^RUST_IMAGE=//p' "$root/.env" 2>/dev/null || true)
docker build --quiet --tag "$image" ${rust:+--build-arg "RUST_IMAGE=$rust"} \
    --build-arg PIP_INDEX_URL --build-arg HTTP_PROXY --build-arg HTTPS_PROXY --build-arg NO_PROXY \
    "$here" >/dev/null

set -- "$image" "$here/begin.sh" "$@"
if [ "$project" != - ]; then
    # Databases that tests make for themselves are gone with the test: nothing in
    # them waits for a disk or a standby.
    superuser=$(docker run --rm --volume "${project}_secrets:/run/secrets:ro" "$image" \
        cat /run/secrets/postgres/superuser_password)
    set -- --network "${project}_default" --volume "${project}_secrets:/run/secrets:ro" \
        --dns-option timeout:1 --dns-option attempts:1 \
        --env "BOXOFFICE_PROJECT=$project" \
        --env BOXOFFICE_DOOR=http://nginx:8080 \
        --env "DATABASE_URL=postgres://postgres:$superuser@haproxy:5432/postgres?options=-c%20synchronous_commit%3Doff" \
        --env REDIS_SENTINELS=sentinel-1:26379,sentinel-2:26379,sentinel-3:26379 \
        --env REDIS_PASSWORD_FILE=/run/secrets/redis/redis_password \
        --env CACHE_ADDRESS=cache:6379 \
        --env CACHE_PASSWORD_FILE=/run/secrets/redis/cache_password \
        --env SQS_ENDPOINT=http://localstack:4566 \
        --env DYNAMODB_ENDPOINT=http://dynamodb:8000 \
        --env ETCD_ENDPOINTS=http://etcd-1:2379,http://etcd-2:2379,http://etcd-3:2379 \
        --env PROMETHEUS_URL=http://prometheus:9090 \
        --env BOOKING_URL=http://booking:9000 \
        --env BANK_URL=http://bank:8080 \
        --env BANK_KEY_FILE=/run/secrets/crowd/bank_key \
        "$@"
fi
terminal=
[ ! -t 0 ] || [ ! -t 1 ] || terminal=--tty
# shellcheck disable=SC2086
exec docker run --rm --init --interactive $terminal \
    --volume "$root:$root" --workdir "$root" --volume /var/run/docker.sock:/var/run/docker.sock \
    --volume boxoffice-registry:/usr/local/cargo/registry --volume boxoffice-target:/target \
    --volume boxoffice-npm:/root/.npm \
    --env BOXOFFICE_PORT --env BOXOFFICE_NETWORK --env BACKGROUND_CROWD \
    --env HOLD_SECONDS --env SETTLEMENT_SECONDS --env LEASE_SECONDS --env SWEEP_SECONDS \
    --env VISIBILITY_SECONDS --env RESEND_SECONDS --env EVENT_KEEP_HOURS \
    --env DOOR_REQUESTS_PER_SECOND --env DOOR_SIGN_INS_PER_SECOND --env DOOR_CONNECTIONS \
    --env RUST_BACKTRACE=1 --env RUST_LIB_BACKTRACE=0 --env CARGO_TERM_COLOR \
    --env PAGE --env PROPTEST_CASES --env FUZZ_EXAMPLES \
    "$@"
