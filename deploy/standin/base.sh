#!/bin/sh
# Makes the stand-in for `debian:trixie-slim` from Debian packages and imports
# it into the engine under the name given as $1, labelled with $2.
#
# It carries the machine's own CA bundle and the settings that point the usual
# clients at it, so that registries can be reached from inside a build on a
# network that intercepts TLS.
set -eu

image=$1
inputs=$2
here=$(cd "$(dirname "$0")" && pwd)

if ! command -v mmdebstrap >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || { echo "images: mmdebstrap is missing, and only root may install it" >&2; exit 1; }
    echo "images: installing the package mmdebstrap, which makes the base image"
    apt-get update -qq >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap </dev/null >/dev/null
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/../engine/mirror.sh" | sed 's/ \[[^]]*\]//' >"$work/sources.list"
cp /etc/ssl/certs/ca-certificates.crt "$work/host-ca.crt"

mmdebstrap --quiet --variant=minbase --include=ca-certificates,tzdata \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="copy-in '$work/host-ca.crt' /etc/ssl" \
    --customize-hook="copy-in '$work/sources.list' /etc/apt" \
    --customize-hook='chmod 0644 "$1/etc/ssl/host-ca.crt" "$1/etc/apt/sources.list"' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/*.log "$1"/var/log/apt' \
    trixie - <"$work/sources.list" >"$work/base.tar"

bundle=/etc/ssl/host-ca.crt
docker import \
    --change "LABEL boxoffice.inputs=$inputs" \
    --change "ENV SSL_CERT_FILE=$bundle PIP_CERT=$bundle REQUESTS_CA_BUNDLE=$bundle CURL_CA_BUNDLE=$bundle GIT_SSL_CAINFO=$bundle CARGO_HTTP_CAINFO=$bundle" \
    --change 'CMD ["bash"]' \
    "$work/base.tar" "$image" >/dev/null
