#!/bin/bash
# The direction of modules: which module may import which. The compiler's own check (--explicit-target-dependency-import-check)
# misses targets with embedded resources and modules of other packages; this list does not.
set -euo pipefail
cd "$(dirname "$0")/../.."

allowed() {
  case "$1" in
    MailModel) echo "" ;;
    DeliveryPolicy) echo "MailModel" ;;
    Simulation) echo "DeliveryPolicy MailModel" ;;
    MailFormat) echo "MailModel COpenSSL CZstd" ;;
    MIME) echo "Glibc" ;;
    Feedback) echo "DeliveryPolicy Foundation Glibc MIME" ;;
    SMTPProtocol) echo "MailModel" ;;
    TLS) echo "NIOCore COpenSSL CShims" ;;
    SMTPClient) echo "Glibc MailModel NIOCore NIOPosix SMTPProtocol TLS" ;;
    SMTPServer) echo "Glibc MailModel NIOCore NIOPosix NIOConcurrencyHelpers SMTPProtocol TLS" ;;
    DNS) echo "CUnbound Foundation Synchronization" ;;
    RedisFunctions) echo "" ;;
    Redis) echo "MailModel RedisFunctions CHiredis Glibc NIOCore NIOPosix NIOConcurrencyHelpers" ;;
    Journal) echo "MailModel CShims Glibc" ;;
    ControlProtocol) echo "FoundationEssentials MailModel NIOCore NIOPosix" ;;
    MTAConfig) echo "DeliveryPolicy MailModel Foundation Yams" ;;
    Observability) echo "CShims CSystemd Glibc Logging Synchronization" ;;
  esac
}

failed=0
for folder in Sources/Shared/*/; do
  module=$(basename "$folder")
  list=" $(allowed "$module") "
  while read -r import; do
    case "$list" in
      *" $import "*) ;;
      *) echo "$module imports $import"; failed=1 ;;
    esac
  done < <(grep -rhoE '^(@[a-z]+ )?((package|internal|public|private|fileprivate) )?import [A-Za-z0-9_]+' "$folder" --include='*.swift' \
    | awk '{print $NF}' | sort -u)
done
# The worker decides nothing and looks nothing up.
for module in DNS DeliveryPolicy MTAConfig Hummingbird GRDB AsyncHTTPClient SMTPServer Foundation; do
  if grep -rqE "^import $module\$" Sources/ipworker; then echo "ipworker imports $module"; failed=1; fi
done
exit $failed
