#!/bin/sh
# Prints apt sources for Debian 13 (trixie) on the mirror that this Debian
# machine itself is set to. Both styles of sources are understood: one-line
# and deb822 (".sources").
set -eu

# shellcheck disable=SC1091
. /etc/os-release
[ "${ID:-}" = debian ] || { echo "mirror: this machine is no Debian" >&2; exit 1; }
release=${VERSION_CODENAME:?}

uri_of() {
    suite=$1
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v suite="$suite" '
        function flush() { if (hit && uri != "") { print uri; done = 1; exit } hit = 0; uri = "" }
        /^[[:space:]]*$/ { flush(); next }
        /^URIs:/ { uri = $2 }
        /^Suites:/ { for (i = 2; i <= NF; i++) if ($i == suite) hit = 1 }
        END { if (!done && hit && uri != "") print uri }' | head -n 1
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk -v suite="$suite" '
        $1 == "deb" { i = 2; if ($2 ~ /^\[/) { while ($i !~ /\]$/) i++; i++ }
                      if ($(i + 1) == suite) { print $i; exit } }'
}

main=$(uri_of "$release" | head -n 1)
security=$(uri_of "$release-security" | head -n 1)
[ -n "$main" ] || { echo "mirror: no apt source for $release found" >&2; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
printf 'deb [signed-by=%s] %s trixie main\n' "$keyring" "$main"
printf 'deb [signed-by=%s] %s trixie-updates main\n' "$keyring" "$main"
[ -z "$security" ] || printf 'deb [signed-by=%s] %s trixie-security main\n' "$keyring" "$security"
