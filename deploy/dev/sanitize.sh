#!/bin/bash
# usage: deploy/dev/sanitize.sh [address] [thread]
# Builds the unit suite under each sanitizer, in a scratch path of its own, and runs it: any report fails. Scenarios that start the
# programs are left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- address thread
for sanitizer in "$@"; do
  start=$SECONDS
  scratch=$PWD/.build-$sanitizer
  options=(--sanitize="$sanitizer" --scratch-path "$scratch")
  swift build --build-tests "${options[@]}"
  preload=
  if [ "$sanitizer" = thread ]; then
    preload=$scratch/tsan-mutex.so
    clang -O1 -fPIC -shared Tests/Fixtures/tsan-mutex.c -o "$preload"
  fi
  # What OpenSSL, libunbound and the runtime keep to their end is no leak of ours. Tests measure memory: little of what is freed
  # is held back.
  # The programs that a test starts are those of this build.
  OWLAT_BIN=$scratch/debug ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16 SWIFT_BACKTRACE=enable=no LD_PRELOAD=$preload \
    swift test --skip-build "${options[@]}" --no-parallel --skip IntegrationTests ${OWLAT_FILTER:+--filter "$OWLAT_FILTER"}
  echo "$sanitizer: clean, $((SECONDS - start)) s"
done
