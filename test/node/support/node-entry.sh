#!/bin/sh
# The first process of a node that is a container: makes /sys and the control groups writable, as systemd and containerd
# need them, and becomes systemd. A privileged container would have them so, but not every machine may start one.
set -eu
mount -o remount,rw /sys
awk '$2 == "/sys" || $2 ~ "^/sys/fs/cgroup" { print $2 }' /proc/self/mounts | while read -r place; do
  mount -o remount,bind,rw "$place"
done
mount --make-rshared /
exec /sbin/init
