#!/bin/sh
# Appends the processes that take most memory to a file, to look at later: top-memory.sh FILE
#
# It looks at the machine that it runs on: the engine's, or with `where: host` the alert's.
set -eu

file=${1:-/tmp/zkalert-top-memory.txt}
{
  printf '%s\n' "$ZKALERT_TITLE"
  # These options of ps are the same on Linux, macOS and BSD.
  ps -A -o pid= -o rss= -o comm= | sort -k2,2nr | head -n 10 | awk '{printf "%8d %9.1f MiB  %s\n", $1, $2 / 1024, $3}'
  printf '\n'
} >>"$file"
echo "wrote the top ten to $file"
