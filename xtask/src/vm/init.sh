#!/usr/bin/busybox sh
# First process of the throw-away machine: prepares it, runs the one command, reports how it ended.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin

# Hard links, not symbolic ones: each applet is then an executable with a path of its own, as on a real system.
/usr/bin/busybox --install /usr/bin
# Package managers of busybox would stand where tests put theirs.
rm -f /usr/bin/dpkg /usr/bin/dpkg-deb /usr/bin/rpm /usr/bin/rpm2cpio

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=0755 run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
hostname -F /etc/hostname
ip link set lo up
# /tmp stays on the root file system, so that moving a file from there is a rename.
mkdir -p /out /tmp /var/tmp /root
chmod 1777 /tmp /var/tmp
chmod 0700 /root

. /usr/sbin/vm-command
