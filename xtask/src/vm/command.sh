#!/bin/sh
# Runs the machine's one command, carries its output through the ports, reports how it ended, and powers off.
while read -r module; do
    load-module "$module" || echo "cannot load $module" >/dev/kmsg
done </etc/vm/modules

port() {
    for candidate in /sys/class/virtio-ports/*; do
        if [ "$(cat "$candidate/name")" = "$1" ]; then
            echo "/dev/${candidate##*/}"
            return
        fi
    done
    echo "no virtio port $1" >/dev/console
    poweroff -f
}
out=$(port sensor.stdout)
err=$(port sensor.stderr)
exec 5>"$(port sensor.control)"
echo ready >&5

# A port can be opened only once at a time, so the command gets pipes and may open /dev/stdout again.
mkfifo /run/vm.stdout /run/vm.stderr
cat /run/vm.stdout >"$out" &
out_relay=$!
cat /run/vm.stderr >"$err" &
err_relay=$!
# The relays must not see an end of file before the command has opened its pipe.
cd /root || exit 1
setsid env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 SENSOR_VM=1 sh /etc/vm/command \
    </dev/null >/run/vm.stdout 2>/run/vm.stderr 5>&-
status=$?

# What the command left running keeps the pipes open: it has had its time.
{ sleep 5; kill "$out_relay" "$err_relay"; } 2>/dev/null &
wait "$out_relay" "$err_relay"
echo "status $status" >&5
if [ -e /etc/vm/collect ]; then
    tar -C /out -cf - . >&5
fi
exec 5>&-
sync
poweroff -f
