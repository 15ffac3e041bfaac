#!/bin/bash
# Loads the Function library into a scratch redis-server: syntax, names, flags.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d /tmp/owl-lua.XXXX)
trap 'kill $(cat "$folder/pid") 2>/dev/null || true; rm -rf "$folder"' EXIT
redis-server --port 0 --unixsocket "$folder/s" --dir "$folder" --save "" --daemonize yes --pidfile "$folder/pid" --logfile "$folder/log" >/dev/null
for _ in $(seq 100); do redis-cli -s "$folder/s" ping >/dev/null 2>&1 && break; sleep 0.05; done
redis-cli -s "$folder/s" -x FUNCTION LOAD < Sources/Shared/RedisFunctions/mta.lua | grep -qx owlatmta1
[ "$(redis-cli -s "$folder/s" FCALL_RO mta1_names 0 | wc -l)" -gt 20 ]
echo "Functions load"
