#!/bin/sh
# Takes down a stack whose parts still share one network, as they did in earlier versions: the
# networks that took its place have the same addresses. Its data stay.
# networks.sh [<project>]
set -eu
cd "$(dirname "$0")/.."

# As Compose reads it: from the environment, else from .env.
project=${1:-${COMPOSE_PROJECT_NAME:-$(sed -n 's/^COMPOSE_PROJECT_NAME=//p' .env 2>/dev/null | tail -n 1)}}
project=${project:-boxoffice}
shared=$(docker network ls --quiet --filter "label=com.docker.compose.project=$project" \
    --filter label=com.docker.compose.network=default)
[ -n "$shared" ] || exit 0
echo "The parts of $project shared one network until now. They are taken down, and started apart; their data stay."
docker compose --project-name "$project" down --remove-orphans
docker network rm "$shared" >/dev/null
