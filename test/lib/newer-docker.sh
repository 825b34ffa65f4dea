#!/bin/sh
# newer-docker.sh DIR: brings the newest Docker that any Debian suite has (engine, CLI, containerd, Compose, buildx) into a
# folder of its own, DIR/root, beside what the machine has installed; prints the versions. Nothing of the machine's apt
# state is touched: lists and archives are kept in DIR. Exits 3 and says why when it cannot be had.
set -eu
dir=$1
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
done=$dir/versions
if [ -s "$done" ]; then cat "$done"; exit 0; fi

uri=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
  sed -n -e 's/^URIs: *\([^ ]*debian\/\{0,1\}\)$/\1/p' -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*debian\/\{0,1\}\) .*/\2/p' | head -n 1)
[ -n "$uri" ] || { echo "no Debian archive among apt's sources" >&2; exit 3; }
key=/usr/share/keyrings/debian-archive-keyring.gpg
arch=$(dpkg --print-architecture)

apt_in() { # apt_in SUITE COMMAND ARGS..
  suite=$1 command=$2
  shift 2
  "$command" -q -o Dir::Etc::SourceList="$dir/$suite/sources.list" -o Dir::Etc::SourceParts=/nonexistent \
    -o Dir::State="$dir/$suite/state" -o Dir::State::Status="$dir/$suite/status" -o Dir::Cache="$dir/$suite/cache" \
    -o APT::Architecture="$arch" -o APT::Sandbox::User=root "$@"
}

best= best_suite=
for suite in stable testing unstable; do
  mkdir -p "$dir/$suite/state/lists/partial" "$dir/$suite/cache/archives/partial"
  : >"$dir/$suite/status"
  echo "deb [signed-by=$key] $uri $suite main" >"$dir/$suite/sources.list"
  apt_in $suite apt-get update >/dev/null 2>&1 || continue
  version=$(apt_in $suite apt-cache policy docker.io | sed -n 's/^ *Candidate: *//p')
  case $version in '' | '(none)') continue ;; esac
  if [ -z "$best" ] || dpkg --compare-versions "$version" gt "$best"; then best=$version best_suite=$suite; fi
done
[ -n "$best_suite" ] || { echo "no Debian suite offers docker.io" >&2; exit 3; }

mkdir -p "$dir/debs" "$dir/root.part"
cd "$dir/debs"
for package in docker.io docker-cli containerd docker-compose docker-buildx; do
  apt_in "$best_suite" apt-get download "$package" >/dev/null 2>&1 || { echo "$package could not be downloaded from $best_suite" >&2; exit 3; }
done
for deb in *.deb; do dpkg-deb -x "$deb" "$dir/root.part"; done
rm -rf "$dir/root" "$dir/stable" "$dir/testing" "$dir/unstable"
mv "$dir/root.part" "$dir/root"
for package in *.deb; do dpkg-deb -f "$package" Package Version | sed 's/^[^:]*: //' | paste -sd' '; done >"$done.part"
rm -rf "$dir/debs"
mv "$done.part" "$done"
cat "$done"
