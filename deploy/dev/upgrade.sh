#!/bin/bash
# usage: deploy/dev/upgrade.sh REVISION
# Builds an earlier revision's programs in .build-older and lets this tree's take over from them: mail in every state, once by SIGTERM
# and once by SIGKILL of everything. The programs of this tree are in OWLAT_BIN.
set -euo pipefail
cd "$(dirname "$0")/../.."
revision=$(git rev-parse --verify "${1:?a revision}^{commit}")
older=$PWD/.build-older
git worktree prune
[ -e "$older/.git" ] || git worktree add -q --detach "$older" "$revision"
git -C "$older" checkout -q --detach "$revision"
for product in supervisor ipworker; do swift build -c release --package-path "$older" --product $product; done
OWLAT_OLDER_BIN=$older/.build/release swift test "${@:2}" --no-parallel --filter UpgradeTests
echo "took over from $(git -C "$older" log -1 --format='%h of %cs')"
