#!/bin/sh
# Appends one line about the alert to a log file: append-log.sh FILE
#
# What is known of the alert comes in variables ZKALERT_*. Always quote them: a host's name is somebody else's text.
set -eu

file=${1:-/tmp/zkalert-alerts.log}
printf '%s %s %s on %s%s: %s\n' \
  "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
  "$ZKALERT_STATE" \
  "$ZKALERT_RULE" \
  "$ZKALERT_HOST" \
  "${ZKALERT_INSTANCE:+ ($ZKALERT_INSTANCE)}" \
  "$ZKALERT_METRIC is $ZKALERT_VALUE ($ZKALERT_COMPARATOR $ZKALERT_THRESHOLD)" >>"$file"
echo "logged to $file"
