#!/bin/sh
# Prints the output of the stage that failed, from the plain log of a build:
# build-log.sh <log>
set -eu

sed -n 's/^#[0-9]* [0-9][0-9.]* //p' "$1" | tail -n 100
# The builder's own reason, which is not always the stage's.
tail -n 3 "$1"
