#!/bin/busybox sh
# The first process of the virtual machine: prepares it, runs /commands.sh, and powers it off.
#
# ttyS0 is the kernel's console, ttyS1 takes the output of the commands between marker lines, and ttyS2 takes a tar of
# what the commands left in /out. Lines of a port keep their order, so kernel messages never stand among results.

/bin/busybox mkdir -p /proc /sys /dev /tmp /var/tmp /out
/bin/busybox --install -s /bin
export PATH=/bin HOME=/

# Not a mount of its own: the root is a tmpfs already, and another would hide executables from a target folder in /tmp.
chmod 1777 /tmp

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
ip link set lo up

# A real disk: pages of tmpfs and of the initramfs can't be reclaimed as page cache can.
mke2fs -i 65536 /dev/nvme0n1 >/dev/null && mount -t ext4 /dev/nvme0n1 /var/tmp && chmod 1777 /var/tmp

# Raw: no echo, and no carriage return before a line feed.
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo

# The empty line ends what the command left unended, so that a marker always begins a line.
mark() {
    printf '\n@reprieve-vm %s\n' "$*"
}

run() {
    name=$1
    shift
    mark begin "$name"
    "$@"
    mark end "$?"
}

{
    . /commands.sh
    if [ -n "$(ls -A /out)" ]; then tar -c -C /out . >/dev/ttyS2; fi
    mark finished
} >/dev/ttyS1 2>&1 </dev/null

# Setting a port waits until all its bytes have gone out; a power-off would not.
stty -F /dev/ttyS1 raw
stty -F /dev/ttyS2 raw
poweroff -f
