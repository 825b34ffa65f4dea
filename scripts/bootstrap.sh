#!/bin/sh
# bootstrap.sh run|test ARGS..: installs what is missing, bundles, then becomes `berth ARGS`.
# Everything comes from Debian packages and from the npm packages that package-lock.json pins.
set -eu
purpose=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
case $(uname -m) in aarch64 | arm64) arch=arm64 ;; *) arch=x64 ;; esac
node=$root/node_modules/node-linux-$arch/bin/node

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "berth: $1"
  say "  try: $2"
  exit 1
}
now() { date +%s%N; }
# step WHAT COMMAND..: runs it, shows the time it took, and its output only when it failed.
step() {
  what=$1
  shift
  [ -t 2 ] && printf '  … %s' "$what" >&2
  from=$(now)
  log=$(mktemp)
  if "$@" >"$log" 2>&1 </dev/null; then
    ms=$((($(now) - from) / 1000000))
    [ -t 2 ] && printf '\r' >&2
    printf '  ✓ %-58s %3d.%d s\n' "$what" $((ms / 1000)) $((ms % 1000 / 100)) >&2
    rm -f "$log"
  else
    [ -t 2 ] && printf '\r' >&2
    say "  ✗ $what"
    tail -n 20 "$log" | sed 's/^/    /' >&2
    rm -f "$log"
    return 1
  fi
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"; }
package_lists() {
  [ -z "${lists-}" ] || return 0
  step "Debian's package lists" apt-get -q update || fail "the package lists could not be read" "apt-get update"
  lists=read
}
in_root() (cd "$root" && "$@")

# What Berth needs from the system: the file that shows it is here, and the Debian package that brings it.
library() { ls /usr/lib/*/"$1" /usr/lib64/"$1" /lib/*/"$1" 2>/dev/null | grep -q . ; }
missing() {
  [ -x /usr/bin/crun ] || echo crun
  [ -x /usr/sbin/runc ] || [ -x /usr/bin/runc ] || echo runc
  [ -x /usr/sbin/nft ] || echo nftables
  library libnftables.so.1 || echo libnftables1
  [ -x /usr/bin/tini-static ] || echo tini
  [ -x /usr/bin/xz ] || echo xz-utils
  [ -x /bin/ps ] || echo procps
  # Where the kernel confines by profiles, they must be loaded.
  if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then command -v apparmor_parser >/dev/null || echo apparmor; fi
  # The container monitor is one C file, compiled here.
  if ! command -v gcc >/dev/null && ! command -v cc >/dev/null; then
    command -v tcc >/dev/null || echo tcc
    [ -f /usr/include/stdio.h ] || echo libc6-dev
  fi
  [ "$purpose" = test ] && sh "$root/scripts/test/packages.sh" missing "$@"
  return 0
}

system_packages() {
  packages=$(missing "$@")
  [ -n "$packages" ] || return 0
  names=$(echo $packages)
  command -v apt-get >/dev/null || fail "this needs $names, and there is no apt-get to install them with" "install them with this system's package manager, then run the same command again"
  [ "$(id -u)" = 0 ] || fail "installing $names needs root" "sudo $root/berth quickstart"
  package_lists
  # Nothing that a package brings is started: policy-rc.d answers for Debian's init scripts.
  policy=/usr/sbin/policy-rc.d
  if [ "$purpose" = test ] && [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    ours=$policy
  fi
  step "Debian packages: $names" apt_install $packages ||
    fail "these Debian packages could not be installed: $names" "apt-get install $names"
  [ -z "${ours-}" ] || rm -f "$ours"
}

# Debian's npm is some 350 packages of a few files each, which take dpkg minutes to install. They are needed once: apt fetches
# and checks them, and they lie unpacked in a directory that is removed afterwards. Only Node itself is installed.
once=$root/.cache/npm-once
borrow_npm() {
  { command -v node >/dev/null || apt_install nodejs ca-certificates; } &&
    rm -rf "$once" && mkdir -p "$once/root" "$once/debs" &&
    apt-get -q install -y --no-install-recommends --download-only -o Dir::Cache::archives="$once/debs" npm &&
    # Half of all files are in what only the building of npm's own packages uses.
    rm -f "$once"/debs/node-core-js*.deb "$once"/debs/node-babel*.deb "$once"/debs/node-es-abstract*.deb "$once"/debs/node-caniuse*.deb &&
    printf '%s\0' "$once"/debs/node-*.deb "$once"/debs/npm_*.deb |
    xargs -0 -P 2 -n 16 sh -c 'for deb; do dpkg-deb -x "$deb" "$0" || exit 255; done' "$once/root" &&
    rm -rf "$once/debs" && borrowed_npm --version
}
borrowed_npm() {
  # Debian's Node looks for packages below /usr; for these it has to be told.
  native=$(ls -d "$once"/root/usr/lib/*/nodejs 2>/dev/null)
  NODE_PATH=$once/root/usr/share/nodejs:$native node "$once/root/usr/share/nodejs/npm/bin/npm-cli.js" "$@"
}

npm_packages() {
  # A stamp in node_modules says what was installed for: `test` has what `run` has and the development tools.
  stamp=$root/node_modules/.berth
  want=$(cksum <"$root/package-lock.json")
  if [ -x "$node" ] && [ -f "$stamp" ]; then
    read -r has sum <"$stamp"
    [ "$sum" = "$(echo $want | tr ' ' -)" ] && { [ "$has" = test ] || [ "$purpose" = run ]; } && return 0
  fi
  npm=npm
  if ! command -v npm >/dev/null; then
    [ "$(id -u)" = 0 ] || fail "npm is missing, and installing it needs root" "apt-get install npm"
    package_lists
    if step "Debian's npm, for this once" borrow_npm; then npm=borrowed_npm; else
      step "Debian package: npm" apt_install npm || fail "npm could not be installed" "apt-get install npm"
    fi
  fi
  omit=
  # Who has the development tools keeps them.
  if [ "$purpose" = run ] && [ ! -d "$root/node_modules/typescript" ]; then omit=--omit=dev; fi
  step "npm packages, Node 24 among them" in_root $npm install --no-save --ignore-scripts --no-audit --no-fund $omit ||
    fail "the npm packages could not be installed" "cd $root && npm install --ignore-scripts"
  # Nobody waits for some ten thousand files to go.
  rm -rf "$once" &
  [ -x "$node" ] || fail "npm brought no Node for this machine ($(uname -m))" "use an x86_64 or arm64 machine"
  if [ "$omit" ]; then purpose_of=run; else purpose_of=test; fi
  echo "$purpose_of $(echo $want | tr ' ' -)" >"$stamp"
}

bundle() {
  if [ -f "$root/dist/built" ] && [ -z "$(find "$root/src" "$root/package.json" -newer "$root/dist/built" -type f -print -quit)" ]; then
    # Whose checkout it is not may use it all the same.
    touch "$root/dist/built" 2>/dev/null || :
    return 0
  fi
  step "bundle" "$node" "$root/scripts/build.ts" || fail "the bundle could not be made" "$node $root/scripts/build.ts"
}

# Commands that only talk to an engine must work without root and without a package manager.
case ${1-} in quickstart | test | engine) system_packages "$@" ;; esac
npm_packages
bundle
if [ "$purpose" = test ]; then
  shift
  exec "$node" "$root/scripts/test/run.ts" "$@"
fi
exec "$node" "$root/dist/cli-main.js" "$@"
