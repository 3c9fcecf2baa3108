#!/bin/sh
# Decides where the images of other people's parts come from, and writes it to
# `.env`, which Compose reads by itself.
#
# Where an image registry answers, nothing is written: the compose files name
# official images. Where none does, stand-ins of the same release are built
# from packages, named boxoffice/standin-<part>:<version>. The label
# `boxoffice.inputs` of a stand-in is a hash of what it was made from, so that
# only what is missing or out of date is built.
#
#   images.sh            all of them
#   images.sh compiler   only what our own services are compiled with, so that this can begin
#   images.sh forget     takes the choice back; the next run decides anew
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
env=$root/.env
state=$root/.state/images
# An old client builds with BuildKit only when it is told to.
export DOCKER_BUILDKIT=1
probe_bound=30
pull_bound=300
grafana=$(sed -n 's/.*GRAFANA_IMAGE:-\([^}]*\)}.*/\1/p' "$here/../grafana/on.yml")
begin='# --- images: written by `make images`'
end='# --- images: end'

# variable, stand-in, version
parts='DEBIAN_IMAGE debian trixie
RUST_IMAGE rust 1.96
POSTGRES_IMAGE postgres 17
HAPROXY_IMAGE haproxy 3.0
REDIS_IMAGE redis 8.0
NGINX_IMAGE nginx 1.28
PROMETHEUS_IMAGE prometheus 2.53
LOCALSTACK_IMAGE localstack 4.14.0
DYNAMODB_IMAGE dynamodb 3.3'

say() { printf 'images: %s\n' "$*"; }

block() { sed -n "/^$begin/,/^$end/p" "$env" 2>/dev/null; }

# The user's own lines of .env.
other_lines() { sed "/^$begin/,/^$end/d" "$env" 2>/dev/null || true; }

# Replaces our lines in .env by standard input; the user's own lines stay.
write_block() {
    {
        other_lines
        echo "$begin"
        cat
        echo "$end"
    } >"$env.new"
    mv "$env.new" "$env"
}

base_image() { echo "boxoffice/standin-debian:trixie-$1"; } # <inputs of the base>

hash_of() { sha256sum | cut -c1-16; }

# Everything the base image is made from: the recipe, the mirror, the CA bundle.
base_inputs() {
    { cat "$here/base.sh" "$here/../engine/mirror.sh" /etc/ssl/certs/ca-certificates.crt; "$here/../engine/mirror.sh"; } | hash_of
}

inputs_of() { # <part> <inputs of the base>
    { echo "$2"; find "$here/$1" -type f | sort | while IFS= read -r file; do cat "$file"; done; } | hash_of
}

current() { # <image> <inputs>
    [ "$(docker image inspect --format '{{index .Config.Labels "boxoffice.inputs"}}' "$1" 2>/dev/null)" = "$2" ]
}

build() { # <part> <version> <inputs> <inputs of the base>
    image=boxoffice/standin-$1:$2
    started=$(date +%s)
    if [ "$1" = debian ]; then
        "$here/base.sh" "$image" "$3" 2>"$state/$1.log"
    else
        # The builder may remember what a name meant to another build that is
        # still under way; a name that carries the inputs means one thing only.
        docker tag boxoffice/standin-debian:trixie "$(base_image "$4")" && docker build --quiet --label "boxoffice.inputs=$3" --tag "$image" \
            --build-arg DEBIAN_IMAGE="$(base_image "$4")" \
            --build-arg PIP_INDEX_URL --build-arg HTTP_PROXY --build-arg HTTPS_PROXY --build-arg NO_PROXY \
            "$here/$1" >"$state/$1.log" 2>&1
    fi || { say "could not build $image:"; tail -n 25 "$state/$1.log"; return 1; }
    say "built $image in $(($(date +%s) - started)) s"
}

# One stand-in, for the two that are built at a time (see below).
if [ "${1:-}" = build ]; then
    build "$2" "$3" "$4" "$5"
    exit
fi

# Takes our lines out again, so that the next run decides anew.
if [ "${1:-}" = forget ]; then
    [ -f "$env" ] || exit 0
    other_lines >"$env.new"
    mv "$env.new" "$env"
    exit
fi

only=${1:-}
mkdir -p "$state"
# With a bound where the system can set one; macOS has no `timeout`.
bounded() { # <seconds> <command …>
    command -v timeout >/dev/null 2>&1 || shift
    case "$1" in docker) "$@" ;; *) timeout "$@" ;; esac
}
# The engine is asked, not its client: it may have a mirror or a proxy.
registry_answers() { bounded "$probe_bound" docker pull --quiet debian:trixie-slim >/dev/null 2>&1; }
grafana_answers() { bounded "$pull_bound" docker pull --quiet "$grafana" >/dev/null 2>&1; }
# The run for the compiler leaves this line to the full run that follows.
grafana_left_out() { [ "$only" = compiler ] || say "Grafana comes as an official image only, and it cannot be pulled here: it is left out (GRAFANA=off), everything else runs"; }

case "$(block)" in
*"the registry answers"*)
    case "$(block)" in *GRAFANA=off*) grafana_left_out ;; esac
    exit 0
    ;;
*"no registry"*) ;;
*)
    if registry_answers; then
        say "an image registry answers: using the official images"
        {
            echo "# the registry answers: official images are used"
            grafana_answers || echo "GRAFANA=off"
        } | write_block
        case "$(block)" in *GRAFANA=off*) grafana_left_out ;; esac
        exit 0
    fi
    say "no image registry answers: building stand-ins of the same releases from packages (a few minutes, once)"
    ;;
esac
grafana_left_out

base=$(base_inputs)
current boxoffice/standin-debian:trixie "$base" || build debian trixie "$base" "$base"
echo "$parts" | while read -r variable part version; do
    [ "$part" != debian ] || continue
    # What our own services are compiled with, and nothing else.
    [ "$only" != compiler ] || [ "$part" = rust ] || continue
    inputs=$(inputs_of "$part" "$base")
    current "boxoffice/standin-$part:$version" "$inputs" || echo "$part $version $inputs $base"
done | xargs -r -L 1 -P 2 "$0" build
{
    echo "# no registry answered: stand-ins are used, and Grafana is left out"
    echo "$parts" | while read -r variable part version; do
        echo "$variable=boxoffice/standin-$part:$version"
    done
    echo "GRAFANA=off"
} | write_block
