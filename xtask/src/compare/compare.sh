#!/bin/sh
# Inside the machine: ways to bring a name into a folder, each with exactly one system call for it, and who tells of it.
set -u
DIR=/etc/apt/apt.conf.d
LOGS=/run/compare
WATCHERS="audit bpftrace-openat bpftrace-hooks inotifywait sensor alert"
mkdir -p $LOGS /mnt/bind /mnt/other

log_of() {
    echo "$LOGS/$1"
}
# Waits for a condition, not for a time.
wait_for() {
    deadline=$(($(date +%s) + 120))
    until eval "$1"; do
        if [ "$(date +%s)" -gt "$deadline" ]; then
            echo "waited in vain: $1" >&2
            tail -n 3 $LOGS/* >&2
            exit 1
        fi
        sleep 0.1
    done
}
act() {
    sensor-livetest act "$@"
}

# What exists before anybody looks.
mkdir /root/prepared
act create /root/source-rename x
act create /root/source-link x
act create /root/source-exchange x
act create $DIR/way-exchange x
act create /root/prepared/way-inside x
cp /usr/bin/busybox /etc/busybox

# Without a daemon, the kernel writes the records of audit to its log.
echo 0 >/proc/sys/kernel/printk_ratelimit
cat /proc/kmsg >$LOGS/audit &
{ auditctl -e 1 && auditctl -w $DIR -p wa -k compare; } >$LOGS/auditctl 2>&1 || cat $LOGS/auditctl >&2
bpftrace -e 'tracepoint:syscalls:sys_enter_openat { printf("%d %s %s\n", pid, comm, str(args->filename)); }' \
    >$LOGS/bpftrace-openat 2>&1 &
bpftrace -e 'kfunc:security_inode_create { printf("%d %s %s\n", pid, comm, str(args->dentry->d_name.name)); }
    kfunc:vfs_rename { printf("%d %s %s\n", pid, comm, str(args->rd->new_dentry->d_name.name)); }' \
    >$LOGS/bpftrace-hooks 2>&1 &
inotifywait -m --format '%w%f %e' $DIR >$LOGS/inotifywait 2>&1 &
sensor run --output $LOGS/sensor --alerts $LOGS/alert --alert-format ndjson >$LOGS/sensor.err 2>&1 &

# Until all look, and again when the last way is done: who tells of the second told of all before it.
all_tell() {
    act create "$DIR/$1-$2" x
    for watcher in $WATCHERS; do
        grep -aq "$1" "$(log_of $watcher)" 2>/dev/null || return 1
    done
}
rounds=0
begin() {
    rounds=$((rounds + 1))
    all_tell beginning $rounds
}
wait_for begin

sh -c "echo \$\$ >$LOGS/pid; exec sensor-livetest act create $DIR/way-open x"
act rename /root/source-rename $DIR/way-rename
act link /root/source-link $DIR/way-link
act symlink /root/source-link $DIR/way-symlink
act tmpfile-link $DIR $DIR/way-tmpfile
act exchange /root/source-exchange $DIR/way-exchange
act ring-create $DIR/way-ring
mount --bind $DIR /mnt/bind && act create /mnt/bind/way-bind x
chroot /etc /busybox sh -c 'echo x >/apt/apt.conf.d/way-chroot'
unshare -m sh -c "mount --bind $DIR /mnt/other && exec sensor-livetest act create /mnt/other/way-namespace x"
(cd $DIR && act create way-relative x)
act mknod $DIR/way-mknod
end() {
    rounds=$((rounds + 1))
    all_tell ending $rounds
}
wait_for end

# With its path, by its name alone, or not at all.
told() {
    if grep -aq "$DIR/$2" "$(log_of "$1")"; then
        echo path
    elif grep -aq "$2" "$(log_of "$1")"; then
        echo name
    else
        echo no
    fi
}
row() {
    printf '| %s |' "$2"
    for watcher in $WATCHERS; do
        printf ' %s |' "$(told $watcher "$1")"
    done
    echo
}
echo "kernel $(uname -r); $(auditctl -v 2>&1 | head -n 1); $(bpftrace --version); $(inotifywait --help | head -n 1); $(sensor --version)"
echo
echo "| way | audit rule | bpftrace: openat | bpftrace: hooks | inotifywait | sensor: event | sensor: alert |"
echo "|---|---|---|---|---|---|---|"
row way-open 'open(O_CREAT)'
row way-relative 'the same by a relative name'
row way-rename 'rename from elsewhere'
row way-link 'link'
row way-symlink 'symlink'
row way-mknod 'mknod'
row way-tmpfile 'O_TMPFILE, then linkat'
row way-exchange 'renameat2(RENAME_EXCHANGE)'
row way-ring 'io_uring, openat'
row way-bind 'through a bind mount'
row way-chroot 'from a chroot to /etc'
row way-namespace 'in a mount namespace, through a bind mount of its own'
printf '| which process it was |'
for watcher in $WATCHERS; do
    grep -aEq "(pid=|^|\"pid\":)$(cat $LOGS/pid)[ ,}]" "$(log_of $watcher)" && printf ' yes |' || printf ' no |'
done
echo
