#!/bin/bash
# usage: deploy/dev/fuzz.sh [seconds for each target] [target…]
#        deploy/dev/fuzz.sh --replay target file…
#        deploy/dev/fuzz.sh --minimise target [folder of further inputs…]
# Fuzzes the readers of remote and stored octets with libFuzzer and the address sanitizer: the files of Tests/Fuzzing, one a
# processor at a time, each from its small corpus. The modules are compiled again with instruments; what they need of others comes
# from the debug build. What was found stays in .build/fuzz/found and is printed with the way to run it again.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
mode=fuzz seconds=10
case "${1:-}" in
--replay | --minimise)
  mode=${1#--}
  targets=("${2:?a target}")
  shift 2
  ;;
*)
  seconds=${1:-10}
  shift || true
  targets=("$@")
  ;;
esac
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -a -s Fuzz.swift Tests/Fuzzing/*Fuzz.swift)
start=$SECONDS
products=$root/.build/debug
[ -e "$products/Modules/Yams.swiftmodule" ] && [ -e "$products/NIOCore.build" ] || swift build --product supervisor
work=$root/.build/fuzz
mkdir -p "$work"

common=(-O -gline-tables-only -parse-as-library)
flags=("${common[@]}" -swift-version 6 -package-name owlat -enable-testing -enable-upcoming-feature ExistentialAny
  -enable-upcoming-feature MemberImportVisibility -enable-upcoming-feature InternalImportsByDefault
  -enable-upcoming-feature NonisolatedNonsendingByDefault -sanitize=fuzzer,address -I "$work" -I "$products/Modules")
for map in "$root"/Sources/System/*/module.modulemap "$products"/C*.build/module.modulemap "$products"/_*.build/module.modulemap \
  "$root"/.build/checkouts/{Yams,swift-atomics,swift-nio}/Sources/*/include/module.modulemap; do
  [ -e "$map" ] && flags+=(-Xcc "-fmodule-map-file=$map")
done
flags+=(-Xcc -I"$root/Sources/System/CShims/include")

# Module, and its sources: parts of those whose other half talks to the network.
compile() {
  local module=$1
  shift
  [ -e "$work/lib$module.a" ] && [ -z "$(find "$@" deploy/dev/fuzz.sh -newer "$work/lib$module.a" -print -quit)" ] && return
  (cd "$work" && swiftc "${flags[@]}" -emit-module -emit-library -static -module-name "$module" "$@" -o "lib$module.a")
}
shared() { compile "$1" "$root/Sources/Shared/$1"/*.swift; }

# Yams from its sources too: of a debug build it lacks what the optimiser asks for. Not ours, so without instruments.
yams() {
  [ -e "$work/libYams.a" ] && [ ! deploy/dev/fuzz.sh -nt "$work/libYams.a" ] && return
  (cd "$work" && swiftc "${common[@]}" -swift-version 5 -DSWIFT_PACKAGE -suppress-warnings \
    -Xcc "-fmodule-map-file=$root/.build/checkouts/Yams/Sources/CYaml/include/module.modulemap" -emit-module -emit-library -static \
    -module-name Yams "$root"/.build/checkouts/Yams/Sources/Yams/*.swift -o libYams.a)
}

# Objects of other packages: the linker takes what is asked for.
others() {
  [ -e "$work/libothers.a" ] && return
  local folders
  mapfile -t folders < <(ls -d "$products"/{NIO*,_NIO*,CNIO*,CYaml,Atomics,_Atomics*,*Collections*,DequeModule,ContainersPreview,CShims}.build 2>/dev/null)
  find "${folders[@]}" -name '*.o' -print0 | xargs -0 ar qcs "$work/libothers.a"
}

waitAll() {
  local pid
  for pid in "$@"; do wait "$pid"; done
}

# Every module after those it imports.
yams & yams=$!
shared MailModel
shared DeliveryPolicy & policy=$!
(shared MIME && shared MailFormat && shared SMTPProtocol && shared Journal) & formats=$!
waitAll $policy $yams
shared MTAConfig & config=$!
compile Redis "$root"/Sources/Shared/Redis/RESP{Reader,Value}.swift
compile ControlProtocol "$root"/Sources/Shared/ControlProtocol/{ControlFrameCodec,ControlMessage,AdminMessage}.swift
compile DNS "$root/Sources/Shared/DNS/DNSAnswer.swift"
waitAll $formats
shared Feedback
waitAll $config
others
libraries=(-lControlProtocol -lRedis -lDNS -lMTAConfig -lYams -lJournal -lSMTPProtocol -lFeedback -lMIME -lMailFormat -lDeliveryPolicy
  -lMailModel)

build() {
  local target=$1 sources=("Tests/Fuzzing/$1Fuzz.swift")
  # Readers that live in the program: their own files only.
  case "$target" in
  JSONStream) sources+=(Sources/supervisor/Intake/JSONStream.swift) ;;
  AppendOnly) sources+=(Sources/supervisor/Embedded/AppendOnly{File,Reader}.swift) ;;
  Submission) sources+=(Sources/supervisor/Intake/Mailbox.swift Sources/supervisor/Submission/SubmittedMessage.swift) ;;
  Inspector) sources+=(Sources/supervisor/Intake/Inspection/Inspect{orDialect,ionError}.swift) ;;
  esac
  [ -e "$work/$target" ] && [ -z "$(find "${sources[@]}" "$work"/lib*.a -newer "$work/$target" -print -quit)" ] && return
  swiftc "${flags[@]}" -module-name Fuzz "${sources[@]}" -L "$work" "${libraries[@]}" -lothers -lFoundation -lFoundationEssentials -lswiftGlibc \
    -lssl -lcrypto -lzstd -lhiredis -use-ld=lld -o "$work/$target"
}

# What one input may take: 10 s and, in all, 1 GiB, most of which is the sanitizer's. hiredis reserves as many places as an
# array claims to have, and frees them.
limits() {
  local single=256
  [ "$1" = RESP ] && single=65536
  echo -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=$single
}
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 SWIFT_BACKTRACE=enable=no

run() {
  local target=$1 new="$work/new/$1" found="$work/found/$1" input
  # New inputs go to a folder that is thrown away.
  rm -rf "$new" "$found" && mkdir -p "$new" "$found"
  # shellcheck disable=SC2046
  if "$work/$target" -max_total_time="$seconds" $(limits "$target") -max_len=8192 -print_final_stats=1 -artifact_prefix="$found/" "$new" \
    "Tests/Fuzzing/Corpus/$target" >"$work/$target.log" 2>&1; then
    echo "$target: $(grep -aE '^Done' "$work/$target.log"), $(grep -ao 'cov: [0-9]*' "$work/$target.log" | tail -1)"
    return
  fi
  echo "$target: FOUND"
  grep -aE "Fatal error|ERROR|SUMMARY|^    #[0-9]+ .* in .*\.swift" "$work/$target.log" | head -12
  for input in "$found"/*; do
    [ -e "$input" ] || continue
    echo "  input: $(wc -c <"$input") octets in base64: $(base64 -w 0 "$input" | head -c 12000)"
    echo "  again: base64 -d >input, then deploy/dev/fuzz.sh --replay $target input"
  done
  return 1
}

# One a processor at a time; every target has its turn whatever the others found.
each() {
  local failed=0 pids=() target
  for target in "${targets[@]}"; do
    "$1" "$target" & pids+=($!)
    if [ ${#pids[@]} -ge "$(nproc)" ]; then
      wait "${pids[0]}" || failed=1
      pids=("${pids[@]:1}")
    fi
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return $failed
}
each build
echo "built in $((SECONDS - start)) s"
target=${targets[0]}
case $mode in
fuzz)
  each run
  echo "${#targets[@]} targets, $seconds s each, nothing found: $((SECONDS - start)) s"
  ;;
# shellcheck disable=SC2046
replay) "$work/$target" $(limits "$target") "$@" ;;
minimise)
  # Inputs as small and as few as reach what all reach.
  rm -rf "$work/merged" && mkdir -p "$work/merged"
  # shellcheck disable=SC2046
  "$work/$target" -merge=1 $(limits "$target") -max_len=1024 "$work/merged" "Tests/Fuzzing/Corpus/$target" "$@" >"$work/$target.log" 2>&1
  echo "$target: $(find "$work/merged" -type f | wc -l) inputs in $work/merged"
  ;;
esac
