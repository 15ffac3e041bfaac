#!/bin/bash
# usage: deploy/dev/sanitize.sh [address] [thread]
# Builds the unit suite under each sanitizer, in a scratch path of its own, and runs it. Scenarios that start the programs are left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- address thread
for sanitizer in "$@"; do
  start=$SECONDS
  # What OpenSSL, libunbound and the runtime keep to their end is no leak of ours.
  ASAN_OPTIONS=detect_leaks=0 SWIFT_BACKTRACE=enable=no swift test --sanitize="$sanitizer" --scratch-path ".build-$sanitizer" --no-parallel \
    --skip IntegrationTests
  echo "$sanitizer: clean, $((SECONDS - start)) s"
done
