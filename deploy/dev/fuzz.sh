#!/bin/bash
# usage: deploy/dev/fuzz.sh [seconds for each target] [target…]
# Fuzzes the readers of remote and stored octets with libFuzzer and the address sanitizer: the files of Tests/Fuzzing, two at a
# time, each from its small corpus. The modules are compiled again with instruments; what they need of others comes from the
# debug build. What was found stays in .build/fuzz/found.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
seconds=${1:-10}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -a -s Fuzz.swift Tests/Fuzzing/*Fuzz.swift)
start=$SECONDS
products=$root/.build/debug
[ -e "$products/Modules/Yams.swiftmodule" ] && [ -e "$products/NIOCore.build" ] || swift build --product supervisor
work=$root/.build/fuzz
mkdir -p "$work"

flags=(-O -g -swift-version 6 -package-name owlat -enable-testing -enable-upcoming-feature ExistentialAny
  -enable-upcoming-feature MemberImportVisibility -enable-upcoming-feature InternalImportsByDefault
  -enable-upcoming-feature NonisolatedNonsendingByDefault -sanitize=fuzzer,address -parse-as-library -I "$work" -I "$products/Modules")
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

# Yams from its sources too: of a debug build it lacks what the optimiser asks for.
if [ ! -e "$work/libYams.a" ]; then
  (cd "$work" && swiftc -O -g -swift-version 5 -DSWIFT_PACKAGE -sanitize=fuzzer,address -parse-as-library -suppress-warnings \
    -Xcc "-fmodule-map-file=$root/.build/checkouts/Yams/Sources/CYaml/include/module.modulemap" -emit-module -emit-library -static \
    -module-name Yams "$root"/.build/checkouts/Yams/Sources/Yams/*.swift -o libYams.a)
fi
shared MailModel
shared DeliveryPolicy & pids=($!)
shared MailFormat & pids+=($!)
for pid in "${pids[@]}"; do wait "$pid"; done
(shared MIME && shared Feedback) & pids=($!)
(shared SMTPProtocol && shared Journal && shared MTAConfig) & pids+=($!)
for pid in "${pids[@]}"; do wait "$pid"; done
compile Redis "$root"/Sources/Shared/Redis/RESP{Reader,Value}.swift
compile ControlProtocol "$root"/Sources/Shared/ControlProtocol/{ControlFrameCodec,ControlMessage,AdminMessage}.swift
libraries=(-lControlProtocol -lRedis -lMTAConfig -lYams -lJournal -lSMTPProtocol -lFeedback -lMIME -lMailFormat -lDeliveryPolicy -lMailModel)

# Objects of other packages: the linker takes what is asked for.
if [ ! -e "$work/libothers.a" ]; then
  mapfile -t folders < <(ls -d "$products"/{NIO*,_NIO*,CNIO*,CYaml,Atomics,_Atomics*,*Collections*,DequeModule,ContainersPreview,CShims}.build 2>/dev/null)
  find "${folders[@]}" -name '*.o' -print0 | xargs -0 ar qcs "$work/libothers.a"
fi

build() {
  local target=$1 sources=("Tests/Fuzzing/$1Fuzz.swift")
  [ "$target" = JSONStream ] && sources+=(Sources/supervisor/Intake/JSONStream.swift)
  [ -e "$work/$target" ] && [ -z "$(find "${sources[@]}" "$work"/lib*.a -newer "$work/$target" -print -quit)" ] && return
  swiftc "${flags[@]}" -module-name Fuzz "${sources[@]}" -L "$work" "${libraries[@]}" -lothers -lFoundation -lFoundationEssentials -lswiftGlibc \
    -lssl -lcrypto -lzstd -lhiredis -o "$work/$target" 2>&1 | { grep -v 'ld.gold: warning: Cannot export local symbol' || true; }
}

run() {
  local target=$1 new="$work/new/$1"
  # New inputs go to a folder that is thrown away.
  rm -rf "$new" && mkdir -p "$new" "$work/found/$target"
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 SWIFT_BACKTRACE=enable=no "$work/$target" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=2048 -malloc_limit_mb=65536 -max_len=8192 -artifact_prefix="$work/found/$target/" "$new" "Tests/Fuzzing/Corpus/$target" \
    >"$work/$target.log" 2>&1 || { echo "$target: FOUND"; grep -aE "Fatal error|ERROR|SUMMARY|artifact|Test unit" "$work/$target.log" | head -12; return 1; }
  echo "$target: $(grep -aE '^Done' "$work/$target.log")"
}

# Two at a time; every target has its turn whatever the others found.
pairs() {
  local failed=0 pids=() target
  for target in "${targets[@]}"; do
    "$1" "$target" & pids+=($!)
    if [ ${#pids[@]} -ge 2 ]; then
      wait "${pids[0]}" || failed=1
      pids=("${pids[@]:1}")
    fi
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return $failed
}
pairs build
echo "built in $((SECONDS - start)) s"
pairs run
