#!/bin/sh
# Inside the machine: the RPM, then an image of the archive in podman, as their documents say.
. /root/guest.sh

# No distribution of RPM's own: its database is empty, and dpkg's packages do not count.
rpm_here() {
    rpm --dbpath /var/lib/rpm --force-debian --nodeps "$@"
}

named() {
    find / -xdev \( -path /root -o -path /out -o -path /tmp -o -path /var/lib/rpm \) -prune -o -name '*sensor*' -print | sort
}

the_rpm_installs_and_starts() {
    ip link set lo up 2>/dev/null
    rpm_here --install /root/sensor-*.rpm || return 1
    rpm --dbpath /var/lib/rpm --query sensor && rpm --dbpath /var/lib/rpm --verify --nodeps sensor || return 1
    systemctl is-enabled sensor && systemctl is-active sensor || return 1
    alerted 93rpm && sensor status
}

an_upgrade_of_the_rpm_keeps_what_is_an_administrators() {
    configure telemetry scope '"all"' || return 1
    cp /etc/sensor/sensor.toml /out/
    before=$(agent)
    pid=$(main_pid)
    rpm_here --upgrade --replacepkgs /root/sensor-*.rpm || return 1
    wait_for "[ \$(main_pid) != $pid ] && systemctl is-active --quiet sensor" || return 1
    cmp /etc/sensor/sensor.toml /out/sensor.toml && [ "$(agent)" = "$before" ] && alerted 93upgraded || return 1
    # What is stopped and disabled stays so.
    systemctl disable --now sensor && rpm_here --upgrade --replacepkgs /root/sensor-*.rpm || return 1
    ! systemctl is-enabled sensor && ! systemctl is-active sensor || return 1
    systemctl enable --now sensor
}

edits_take_effect_by_themselves_under_the_unit() {
    mkdir -p /etc/sensor/rules && probe_rule edited >/etc/sensor/rules/probe.toml || return 1
    configure agent reload_on_change true && systemctl restart sensor || return 1
    configure rules paths '["rules"]' || return 1
    wait_for "rm -f /root/edited; : >/root/edited; sleep 1; grep -q '\"path\":\"/root/edited\"' $ALERTS" || return 1
    journalctl --unit sensor --output cat | grep '/etc/sensor/sensor.toml has changed' || return 1
    probe_rule again >/etc/sensor/rules/probe.toml
    wait_for "rm -f /root/again; : >/root/again; sleep 1; grep -q '\"path\":\"/root/again\"' $ALERTS" || return 1
    echo 'query = broken' >/etc/sensor/rules/probe.toml
    wait_for "journalctl --unit sensor --output cat | grep 'reload: nothing was changed'" || return 1
    sensor status | grep '^reload' && sensor status | grep 'edits: no_new_privs, seccomp' || return 1
    rm -r /etc/sensor/rules
}

erasing_the_rpm_keeps_what_was_recorded() {
    rpm_here --erase sensor || return 1
    ! systemctl is-active sensor && ! systemctl status sensor || return 1
    [ ! -e /usr/bin/sensor ] && [ ! -e /usr/lib/systemd/system/sensor.service ] || return 1
    [ ! -e /etc/systemd/system/multi-user.target.wants/sensor.service ] || return 1
    [ -s $ALERTS ] && [ -d /var/lib/sensor/store ] && [ -s /etc/sensor/sensor.toml.rpmsave ] || return 1
    named >/out/left
    diff /out/named /out/left | sed -n 's/^> //p' >/out/more
    cat /out/more
    ! grep -v -e '^/var/lib/sensor' -e '^/var/log/sensor' -e '^/etc/sensor' /out/more || return 1
    rm -rf /var/lib/sensor /var/log/sensor /etc/sensor
}

# What the recipe's own head says to run, with this in place of its `podman run`.
documented() {
    sed -n '/^#   podman run/,/^#     sensor$/s/^# *//p' /root/sensor-*-x86_64/Containerfile |
        sed "s|^podman run|podman run --network=none $1|; s|^sensor\$|sensor $2|"
}

an_image_is_built_without_network() {
    # As `tar -xf` does where there is xz.
    busybox xz -dc /root/sensor-*.tar.xz | tar -x -C /root || return 1
    podman build --network none --tag sensor /root/sensor-*-x86_64 || {
        grep overlay /proc/filesystems /proc/modules
        df /var/lib/containers
        dmesg | tail -n 20
        return 1
    }
    podman image inspect --format '{{.Size}}' sensor
    [ "$(podman run --rm --network none sensor --version)" = "$(/root/sensor-*-x86_64/root/usr/bin/sensor --version)" ]
}

the_image_finds_every_hook_with_the_documented_rights() {
    mkdir -p /var/lib/sensor /var/log/sensor
    documented --rm doctor >/out/doctor.sh
    cat /out/doctor.sh
    grep -q -e '--cap-add=BPF' /out/doctor.sh || return 1
    sh /out/doctor.sh >/out/doctor 2>&1
    code=$?
    cat /out/doctor
    [ $code = 0 ] && grep 'vfs_rename .*attached' /out/doctor
}

an_attack_on_the_host_is_alerted_by_the_container() {
    documented '--detach --name=sensor' run >/out/run.sh
    sh /out/run.sh || return 1
    wait_for 'podman logs sensor 2>&1 | grep "sensor: ready"' || { podman logs sensor; return 1; }
    podman logs sensor
    echo 'DPkg::Pre-Invoke {"id";};' >/root/payload
    mv /root/payload $HOOKS/91host
    alert_on $HOOKS/91host || { podman logs sensor; return 1; }
    echo "$line" >/out/alert
    # Whose it is, what it was, and its content: read by the container, named as on the host.
    has '"executable":"/usr/bin/mv"' && has '"name":"root"' && has 'DPkg::Pre-Invoke' || return 1
    has '"path":"/root/payload"' && has "\"hostname\":\"$(hostname)\"" || return 1
    ! echo "$line" | grep -q '"/host/' || return 1
    podman exec sensor /usr/bin/sensor status || return 1
    podman exec sensor /usr/bin/sensor status | grep '^confined' || return 1
    podman exec sensor /usr/bin/sensor reload || return 1
    podman stop --time 30 sensor || return 1
    podman logs sensor 2>&1 | grep 'stopped by SIGTERM' || return 1
    /root/sensor-*-x86_64/root/usr/bin/sensor store stat /var/lib/sensor/store
}

mkdir -p /out
named >/out/named
run_tests the_rpm_installs_and_starts an_upgrade_of_the_rpm_keeps_what_is_an_administrators \
    edits_take_effect_by_themselves_under_the_unit erasing_the_rpm_keeps_what_was_recorded an_image_is_built_without_network \
    the_image_finds_every_hook_with_the_documented_rights an_attack_on_the_host_is_alerted_by_the_container
