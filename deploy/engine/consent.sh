#!/bin/sh
# Whether software may be installed on this machine as root: consent.sh <what>
# Yes with INSTALL_ENGINE=1, on a machine of continuous integration (CI is set), and
# where a person says so at the prompt.
set -eu

[ "${INSTALL_ENGINE:-}" != 1 ] || exit 0
case "${CI:-}" in '' | 0 | false) ;; *) exit 0 ;; esac
[ -t 0 ] && [ -t 1 ] || exit 1
printf 'engine: install %s? [y/N] ' "$1"
read -r answer || exit 1
case "$answer" in y | Y | yes | Yes | YES) ;; *) exit 1 ;; esac
