#!/bin/sh
# Makes sure that `docker compose` (2.24.5 or newer, for `extends` within `include`)
# and `docker buildx` exist.
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

compose_is_new_enough() { "$here/at-least.sh" 2.24.5 "$(docker compose version --short 2>/dev/null)"; }

missing=
compose_is_new_enough || missing="$missing docker-compose"
docker buildx version >/dev/null 2>&1 || missing="$missing docker-buildx"
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 \
    || fail "missing or too old:$missing. Install the Compose plugin (2.24.5 or newer) and the buildx plugin of Docker."

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
    { [ "$(id -u)" = 0 ] && "$here/consent.sh" 'the packages docker-compose-v2 and docker-buildx'; } \
        || fail "missing or too old:$missing. Install docker-compose-v2 (2.24.5 or newer) and docker-buildx, or run this as root with INSTALL_ENGINE=1."
    say "installing the packages docker-compose-v2 and docker-buildx"
    apt-get update -qq >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq docker-compose-v2 docker-buildx >/dev/null
    ;;
debian) unpack_from_trixie ;;
*) fail "missing or too old:$missing. Install the Compose plugin (2.24.5 or newer) and the buildx plugin of Docker." ;;
esac
compose_is_new_enough || fail "Compose is still missing or older than 2.24.5"
docker buildx version >/dev/null 2>&1 || fail "buildx is still missing"
