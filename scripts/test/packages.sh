#!/bin/sh
# packages.sh missing [SUITE..]: the Debian packages that the tests need and this machine lacks, a name a line.
# Real parts: a registry, a tool that fills it, the reference engine, programs to put into images.
need() { [ -e "$1" ] || echo "$2"; }
need /usr/bin/docker-registry docker-registry
need /usr/bin/skopeo skopeo
need /usr/sbin/dockerd docker.io
need /usr/bin/busybox busybox-static
need /usr/sbin/nginx nginx-light
need /usr/bin/mmdebstrap mmdebstrap
need /usr/bin/htpasswd apache2-utils
need /usr/bin/openssl openssl
need /usr/bin/strace strace
need /usr/bin/zstd zstd
need /usr/bin/bzip2 bzip2
need /usr/bin/curl curl
need /usr/bin/python3 python3
need /usr/lib/python3/dist-packages/docker python3-docker
# Compose v1, which speaks old versions of the API. Without its recommendations: the engine is here already.
need /usr/bin/docker-compose docker-compose
need /usr/bin/tcc tcc
need /usr/include/stdio.h libc6-dev
need /usr/sbin/iptables iptables
need /sbin/ip iproute2
need /bin/ping iputils-ping
need /bin/ps procps
need /usr/bin/wrk wrk
# Shells that take our completions.
need /usr/bin/zsh zsh
need /usr/bin/fish fish
# Another machine, as docker -H ssh:// sees it.
need /usr/sbin/sshd openssh-server
need /usr/bin/ssh openssh-client
# A virtual machine, for a run of everything and for who asks for it.
case " $* " in
"  " | " missing " | " missing test " | *" vm "*)
  need /usr/bin/qemu-system-x86_64 qemu-system-x86
  need /sbin/depmod kmod
  need /sbin/mke2fs e2fsprogs
  ;;
esac
