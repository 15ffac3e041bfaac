#!/bin/bash
# usage: deploy/dev/fuzz.sh [seconds for each target] [target…]
# Fuzzes the readers of what strangers send with libFuzzer and the address sanitizer: the files of Tests/Fuzzing, each with the modules that it needs.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-10}
shift || true
work=$PWD/.build/fuzz
mkdir -p "$work"
flags=(-O -g -swift-version 6 -package-name owlat -enable-upcoming-feature ExistentialAny -enable-upcoming-feature MemberImportVisibility
  -enable-upcoming-feature InternalImportsByDefault -sanitize=fuzzer,address -parse-as-library -I "$work")
start=$SECONDS
libraries=()
for module in MailModel DeliveryPolicy MIME Feedback SMTPProtocol; do
  (cd "$work" && swiftc "${flags[@]}" -emit-module -emit-library -static -module-name $module "$OLDPWD/Sources/Shared/$module"/*.swift -o lib$module.a)
  libraries=("-l$module" "${libraries[@]}")
done
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -a -s Fuzz.swift Tests/Fuzzing/*Fuzz.swift)
for target in "${targets[@]}"; do
  swiftc "${flags[@]}" -module-name Fuzz "Tests/Fuzzing/${target}Fuzz.swift" -L "$work" "${libraries[@]}" \
    -lFoundation -lFoundationEssentials -o "$work/$target"
done
echo "built in $((SECONDS - start)) s"
for target in "${targets[@]}"; do
  # New inputs go to a folder that is thrown away; what was found stays.
  rm -rf "$work/new" && mkdir -p "$work/new" "$work/found/$target"
  ASAN_OPTIONS=detect_leaks=0 SWIFT_BACKTRACE=enable=no "$work/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -max_len=8192 -artifact_prefix="$work/found/$target/" "$work/new" >"$work/$target.log" 2>&1 || { tail -40 "$work/$target.log"; exit 1; }
  echo "$target: $(grep -E '^Done' "$work/$target.log")"
done
