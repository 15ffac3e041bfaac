#!/bin/bash
# usage: deploy/dev/test.sh FLAGS-OF-SWIFT-BUILD…
# Builds the tests and runs all of them against the programs in $OWLAT_BIN, two processes side by side: most scenarios wait more
# than they work. Those that measure speed, memory or fairness go first, beside one that sends a message every 400 ms.
# Output: what each process says at its end and what failed; all of it in .build/tests/*.log.
set -euo pipefail
cd "$(dirname "$0")/../.."
start=$SECONDS
swift build --build-tests "$@"
echo "tests built in $((SECONDS - start)) s"
runner=$(swift build "$@" --show-bin-path)/owlat-mtaPackageTests.xctest
logs=$PWD/.build/tests
rm -rf "$logs"
mkdir -p "$logs"

# Suites of IntegrationTests by name; what is named nowhere runs last, beside "broken".
declare -A lanes=(
  [paced]="Policy"
  [measured]="LargeMail Delivery RunningIP Operation SharedSession"
  [broken]="Kill Interop Chaos CrashMatrix Breakage Pressure Uncertain Backup Systemd SystemdSocket SystemdRedis"
)
pattern() {
  local suite list=()
  for suite in "$@"; do list+=("^IntegrationTests\\.${suite}Tests/"); done
  local IFS='|'
  echo "${list[*]}"
}

# Even ports for one of two that run side by side, odd ones for the other: neither takes a port that the other is about to bind.
run() {
  local name=$1 side=$2
  shift 2
  OWLAT_TEST_PORTS=$side "$runner" --testing-library swift-testing --no-parallel "$@" >"$logs/$name.log" 2>&1
}

failed=0
pair() {
  local first second
  # shellcheck disable=SC2086
  run "$1" even --filter "$(pattern ${lanes[$1]})" & first=$!
  # shellcheck disable=SC2086
  if [ -n "${lanes[$2]:-}" ]; then run "$2" odd --filter "$(pattern ${lanes[$2]})"; else run "$2" odd --skip "$(pattern ${lanes[*]})"; fi & second=$!
  wait $first || failed=1
  wait $second || failed=1
}
pair paced measured
pair broken other

for log in "$logs"/*.log; do
  name=$(basename "$log" .log)
  summary=$(grep -aE "Test run with [1-9][0-9]* tests? .*(passed|failed)" "$log" | tail -1) || true
  echo "$name: ${summary:-ended without a summary}"
  if ! grep -aqE "Test run with [1-9][0-9]* tests? .* passed" "$log"; then
    failed=1
    grep -aE -A12 "recorded an issue|✘|Fatal error|Crash" "$log" | head -150 || true
    [ -n "$summary" ] || tail -30 "$log"
  fi
done
exit $failed
