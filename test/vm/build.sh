#!/bin/sh
# build.sh PLACE: a virtual machine with Debian 12 in PLACE (disk.img, vmlinuz, initrd.gz), with this checkout in /berth.
# The base system and the kernel are kept in PLACE for the next time; the disk is made anew.
set -eu
place=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$place"
cd "$place"

# Debian's own kernel for clouds: cgroup v2 alone, AppArmor, and no EROFS mounts of plain files.
if [ ! -e kernel/done ]; then
  rm -rf kernel
  mkdir -p kernel/deb
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
  [ -n "$package" ] || { echo "no kernel for clouds among Debian's packages: apt-get update" >&2; exit 1; }
  (cd kernel/deb && apt-get -q -o APT::Sandbox::User=root download "$package")
  dpkg-deb -x kernel/deb/*.deb kernel
  rm -rf kernel/deb
  : >kernel/done
fi
cp kernel/boot/vmlinuz-* vmlinuz

if [ ! -e base/done ]; then
  rm -rf base base.tar
  mmdebstrap --quiet --mode=root --variant=minbase \
    --include=systemd-sysv,udev,dbus,apparmor,kmod,crun,runc,nftables,libnftables1,tini,iproute2,iputils-ping,procps,busybox-static,tcc,libc6-dev,strace,docker.io,docker-registry,skopeo,nginx-light,apache2-utils,openssl,zstd,bzip2,xz-utils,curl,python3,iptables,ca-certificates,e2fsprogs,xfsprogs,nfs-kernel-server \
    bookworm base.tar
  mkdir base
  tar -xf base.tar -C base
  rm base.tar
  # Started by nobody: what they bring are programs for the tests.
  for unit in docker.service docker.socket containerd.service docker-registry.service nginx.service nfs-server.service rpcbind.service rpcbind.socket apt-daily.timer apt-daily-upgrade.timer; do
    ln -sf /dev/null base/etc/systemd/system/$unit
  done
  echo '/dev/vda / ext4 defaults 0 1' >base/etc/fstab
  mkdir -p base/usr/lib/modules
  cp -a kernel/lib/modules/* base/usr/lib/modules/
  depmod -b base "$(ls base/usr/lib/modules)"
  : >base/done
fi

rm -rf base/berth
mkdir base/berth
(cd "$root" && tar -c --exclude=node_modules/@biomejs --exclude=node_modules/@typescript --exclude=node_modules/typescript \
  berth package.json package-lock.json README.md docs src scripts test node_modules) | tar -x -C base/berth
cp /usr/bin/docker base/usr/local/bin/docker
cp "$root/test/vm/guest.service" base/etc/systemd/system/berth-guest.service
ln -sf ../berth-guest.service base/etc/systemd/system/multi-user.target.wants/berth-guest.service
rm -f disk.img
mke2fs -q -t ext4 -d base disk.img 8G

# The disk's driver is a module; everything else is on the disk.
rm -rf ird
mkdir -p ird/bin ird/modules ird/proc ird/dev ird/root
cp base/bin/busybox ird/bin/
cp "$root/test/vm/init" ird/init
chmod +x ird/init
for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
  find kernel/lib/modules -name "$module.ko" -exec cp {} ird/modules/ \;
done
(cd ird && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >../initrd.gz)
