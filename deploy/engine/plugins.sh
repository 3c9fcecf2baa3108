#!/bin/sh
# Makes sure that `docker compose` (2.20 or newer, for `include`) and
# `docker buildx` exist.
#
# Where one is missing: Ubuntu packages both; Debian packages them from 13 on,
# and on an older Debian those packages are unpacked into the user's own folder
# of CLI plugins, from the mirror that the machine itself uses. Nothing that is
# there is replaced.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins

say() { printf 'engine: %s\n' "$*"; }
fail() { printf 'engine: %s\n' "$*" >&2; exit 1; }

# `include` came with Compose 2.20.
compose_is_new_enough() {
    version=$(docker compose version --short 2>/dev/null) || return 1
    version=${version#v}
    major=${version%%.*}
    rest=${version#*.}
    [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "${rest%%.*}" -ge 20 ]; }
}

missing=
compose_is_new_enough || missing="$missing docker-compose"
docker buildx version >/dev/null 2>&1 || missing="$missing docker-buildx"
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 \
    || fail "missing:$missing. Install the Compose v2 and buildx plugins of Docker."

unpack_from_trixie() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/deb"
    "$here/mirror.sh" >"$work/trixie.list"
    set -- -qq \
        -o "Dir::Etc::sourcelist=$work/trixie.list" -o Dir::Etc::sourceparts=- \
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" \
        -o APT::Sandbox::User=root
    apt-get "$@" update >/dev/null
    mkdir -p "$plugins"
    for package in $missing; do
        (cd "$work/deb" && apt-get "$@" download "$package" >/dev/null)
        dpkg -x "$work"/deb/"$package"_*.deb "$work/$package"
        install -m 0755 "$(find "$work/$package" -type f -path '*/cli-plugins/*')" "$plugins/"
    done
    say "unpacked$missing of Debian 13 into $plugins"
}

# shellcheck disable=SC1091
. /etc/os-release
case "${ID:-}" in
ubuntu)
    [ "$(id -u)" = 0 ] || fail "missing:$missing. Install docker-compose-v2 and docker-buildx."
    say "installing the packages docker-compose-v2 and docker-buildx"
    apt-get update -qq >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq docker-compose-v2 docker-buildx >/dev/null
    ;;
debian) unpack_from_trixie ;;
*) fail "missing:$missing. Install the Compose v2 and buildx plugins of Docker." ;;
esac
compose_is_new_enough || fail "Compose is still missing or older than 2.20"
docker buildx version >/dev/null 2>&1 || fail "buildx is still missing"
