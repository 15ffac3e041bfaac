# For scripts to source: `download PACKAGE…` fetches Debian packages into the current folder.

# Package lists that are missing or old are read anew, once; a package that then is still not there ends the script.
download() {
  local log
  log=$(mktemp)
  if ! apt-get download -qq "$@" 2>"$log"; then
    local sudo=""
    if [ "$(id -u)" != 0 ]; then sudo=sudo; fi
    $sudo apt-get -o DPkg::Lock::Timeout=400 update -qq
    apt-get download -qq "$@" 2>"$log" || { cat "$log" >&2; rm -f "$log"; exit 1; }
  fi
  rm -f "$log"
}
