#!/bin/sh
# Prints the path of the engine's socket, as a container mounts it. The client says
# where the engine is: DOCKER_HOST, else the context that it uses.
set -eu

said=${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)}
case "${said:-unix:///var/run/docker.sock}" in
unix://*) ;;
*)
    echo "engine: $said is not on this machine, and the tests need its socket" >&2
    exit 1
    ;;
esac
system=$(docker info --format '{{.OperatingSystem}}' 2>/dev/null || true)
if [ "$(uname -s)" = Linux ] && [ "$system" != 'Docker Desktop' ]; then
    said=${said:-unix:///var/run/docker.sock}
    echo "${said#unix://}"
else
    # The engine runs in a virtual machine, and this is its own path in there.
    echo /var/run/docker.sock
fi
