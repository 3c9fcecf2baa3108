#!/bin/sh
# Whether a version is new enough: at-least.sh <oldest> <version>
# What stands behind the third number, such as `-desktop.1`, does not count.
set -eu

echo "${1#v} ${2#v}" | awk '{
    split($1, oldest, /[.+-]/)
    split($2, version, /[.+-]/)
    for (i = 1; i <= 3; i++) if (version[i] + 0 != oldest[i] + 0) exit !(version[i] + 0 > oldest[i] + 0)
}'
