#!/bin/sh
# Inside the machine: programs as administrators and attackers use them, beside the installed package.
. /root/guest.sh

it_is_installed_and_records_everything() {
    ip link set lo up 2>/dev/null
    apt-get install --yes --no-install-recommends /root/sensor_*.deb || return 1
    mkdir -p /etc/sensor/rules
    probe_rule probe >/etc/sensor/rules/probe.toml
    sed 's/000007/000009/; s/"Probe"/"Container probe"/; s/logs-endpoint.events.file/logs-cloud_defend.file/' \
        /etc/sensor/rules/probe.toml >/etc/sensor/rules/container.toml
    configure rules paths '["rules"]' && configure telemetry scope '"all"' || return 1
    configure containers cloud_defend true || return 1
    configure outputs.events path '"/var/log/sensor/events.ndjson"' || return 1
    sensor config check && systemctl restart sensor && alerted 99evil
}

# Who logged in, and from where.
a_login_by_ssh_is_named() {
    mkdir -p /root/.ssh /run/sshd
    ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519 || return 1
    cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
    systemctl start ssh || return 1
    wait_for "ssh -o StrictHostKeyChecking=no -o BatchMode=yes root@127.0.0.1 true" || return 1
    ssh -o StrictHostKeyChecking=no -o BatchMode=yes root@127.0.0.1 \
        "echo 'DPkg::Pre-Invoke {\"id\";};' >$HOOKS/95ssh" || return 1
    alert_on $HOOKS/95ssh || return 1
    rm $HOOKS/95ssh
    has '"type":"sshd"' && has '127.0.0.1' && has 'DPkg::Pre-Invoke'
}

a_job_of_cron_is_named() {
    echo "* * * * * root echo x >$HOOKS/95cron" >/etc/cron.d/planted
    systemctl start cron || return 1
    alert_on $HOOKS/95cron || return 1
    rm /etc/cron.d/planted $HOOKS/95cron
    has '"executable":"/usr/sbin/cron"' && has "echo x >$HOOKS/95cron"
}

# A package with a configuration file of APT's, through APT, from a repository of this machine.
repository() {
    version=$1
    tree=/root/build/tree
    rm -rf /root/build && mkdir -p $tree/DEBIAN $tree$HOOKS /root/repository
    printf 'Package: brought\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: brought\n' \
        "$version" >$tree/DEBIAN/control
    echo "$HOOKS/60brought" >$tree/DEBIAN/conffiles
    echo "// $version" >$tree$HOOKS/60brought
    dpkg-deb --root-owner-group --build $tree /root/repository/brought_$version.deb || return 1
    (
        cd /root/repository || exit 1
        for package in *.deb; do
            dpkg-deb --field $package
            printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' $package "$(stat -c %s $package)" \
                "$(sha256sum $package | cut -d ' ' -f 1)"
        done >Packages
    )
    echo 'deb [trusted=yes] file:/root/repository ./' >/etc/apt/sources.list.d/own.list
    rm -f /etc/apt/sources.list
    apt-get update
}

apt_get_is_silent() {
    before=$(grep -c '"path":"/etc/apt' $ALERTS)
    repository 1.0 && apt-get install --yes brought && grep -q 1.0 $HOOKS/60brought || return 1
    repository 2.0 && apt-get upgrade --yes && grep -q 2.0 $HOOKS/60brought || return 1
    echo '// mine' >>$HOOKS/60brought
    repository 3.0 && apt-get --option Dpkg::Options::=--force-confold upgrade --yes || return 1
    grep -q 3.0 $HOOKS/60brought.dpkg-dist || return 1
    apt-get purge --yes brought && [ ! -e $HOOKS/60brought ] || return 1
    # What is alerted next is the next thing that was done.
    alerted 96after || return 1
    [ "$(grep -c '"path":"/etc/apt' $ALERTS)" = $((before + 1)) ] || { tail -n 3 $ALERTS; return 1; }
}

evidence_knows_what_rpm_brought() {
    mkdir -p /root/rpm
    cat >/root/rpm/probe.spec <<'SPEC'
Name: probe
Version: 1.0
Release: 1
Summary: for a test
License: none
BuildArch: noarch
%description
A package.
%install
mkdir -p %{buildroot}/usr/share/probe-rpm
echo 'as shipped' >%{buildroot}/usr/share/probe-rpm/probe
%files
/usr/share/probe-rpm/probe
%post
/usr/bin/id -un >/dev/null
SPEC
    rpmbuild -bb --quiet --define '_topdir /root/rpm' /root/rpm/probe.spec || return 1
    rpm --dbpath /var/lib/rpm --force-debian --nodeps -i /root/rpm/RPMS/noarch/probe-1.0-1.noarch.rpm || return 1
    echo 'another' >/root/another && mv /root/another /usr/share/probe-rpm/probe
    wait_for "grep '\"path\":\"/usr/share/probe-rpm/probe\"' $ALERTS | grep -q '/root/another'" || return 1
    line=$(grep '"path":"/usr/share/probe-rpm/probe"' $ALERTS | grep '/root/another' | head -n 1)
    has '"manager":"rpm"' && has '"name":"probe"' && has '"shipped":"different"'
}

# Real tools of administrators: the rule as written fires, and an exception of ours silences that tool alone.
with_ucf() {
    mkdir -p /usr/share/managed && echo "// $1" >/usr/share/managed/97ucf
    printf '#!/bin/sh\nucf --debconf-ok /usr/share/managed/97ucf %s/97ucf\n' $HOOKS >/root/managed.postinst
    # Over a file that is there it writes in place, which creates nothing.
    rm -f $HOOKS/97ucf
    UCF_FORCE_CONFFMISS=1 UCF_FORCE_CONFFNEW=1 sh /root/managed.postinst </dev/null
}
with_sed() {
    sed -i "s/^.*$/\/\/ $1/" $HOOKS/97sed
}
with_vim() {
    vim.tiny -e -s -c "set backup nocompatible" -c "%s/.*/\/\/ $1/" -c wq $HOOKS/97vim </dev/null
}
with_ansible() {
    HOME=/root ansible --connection local --inventory localhost, --module-name ansible.builtin.copy \
        --args "content='// $1' dest=$HOOKS/97ansible" localhost
}
count() {
    grep -c "\"path\":\"$HOOKS/[^\"]*$1" $ALERTS
}

administrators_tools_fire_and_exceptions_silence_them() {
    cp /usr/share/sensor/examples/exceptions.toml /out/ || return 1
    for tool in ucf sed vim ansible; do
        echo '// old' >$HOOKS/97$tool
        alert_on $HOOKS/97$tool || return 1
        before=$(count 97$tool)
        with_$tool first || return 1
        grep -q first $HOOKS/97$tool || { echo "$tool wrote nothing"; cat $HOOKS/97$tool; return 1; }
        # By the name of the file or that of its copy.
        wait_for "[ \$(count 97$tool) -gt $before ]" || return 1
    done
    sed 's/^enabled = false/enabled = true/' /usr/share/sensor/examples/exceptions.toml >>/etc/sensor/sensor.toml
    sensor config check && systemctl reload sensor || return 1
    alerted 98between || return 1
    before=$(grep -c "$HOOKS" $ALERTS)
    for tool in ucf sed vim ansible; do
        with_$tool second || return 1
        grep -q second $HOOKS/97$tool || return 1
    done
    # An attacker's copy is none of these.
    echo '// evil' >/root/evil && cp /root/evil $HOOKS/98copy
    alert_on $HOOKS/98copy || return 1
    [ "$(grep -c "$HOOKS" $ALERTS)" = $((before + 1)) ] || { tail -n 4 $ALERTS | cut -c 1-600; return 1; }
    rm -f $HOOKS/9[78]*
}

# A container of podman's, with an image and a name.
a_container_of_podman_is_named() {
    root=/root/image
    mkdir -p $root/etc/apt/apt.conf.d $root/tmp
    for program in /bin/sh /bin/mv /bin/sleep; do
        cp --parents --dereference $program $(ldd $program | grep -o '/[^ ]*') $root || return 1
    done
    tar -C $root -c . | podman import - localhost/planted:1 || return 1
    script='echo x >/tmp/y; mv /tmp/y /etc/apt/apt.conf.d/94podman; echo z >/tmp/z; mv /tmp/z /probe; sleep 1000'
    podman run --detach --name planter --network none --cgroups enabled localhost/planted:1 \
        /bin/sh -c "sleep 3; $script" || return 1
    wait_for "grep -q 94podman $ALERTS" || return 1
    line=$(grep 94podman $ALERTS | head -n 1)
    id=$(podman inspect --format '{{.Id}}' planter)
    has "\"id\":\"$id\"" && has '"runtime":"podman"' && has '"path":"/etc/apt/apt.conf.d/94podman"' || return 1
    has '"name":"planter"' && has 'localhost/planted' || return 1
    wait_for "grep -q 'Container probe' $ALERTS" || return 1
    line=$(grep 'Container probe' $ALERTS | head -n 1)
    has '"dataset":"cloud_defend.file"' && has '"path":"/probe"' || return 1
    podman kill planter || return 1
    # The store keeps the other document.
    wait_for "grep '\"dataset\":\"cloud_defend.process\"' /var/log/sensor/events.ndjson | grep -q $id"
}

documents_have_their_fields() {
    sensor store export /var/lib/sensor/store >/out/events.ndjson || return 1
    sensor coverage /out/events.ndjson >/out/coverage || return 1
    rm /out/events.ndjson
    grep -q 'process.entity_id' /out/coverage
}

mkdir -p /out
run_tests it_is_installed_and_records_everything a_login_by_ssh_is_named a_job_of_cron_is_named \
    apt_get_is_silent evidence_knows_what_rpm_brought administrators_tools_fire_and_exceptions_silence_them \
    a_container_of_podman_is_named documents_have_their_fields
