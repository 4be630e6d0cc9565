#!/bin/sh
# Inside the machine: the package is installed, and used. One line for each test.
. /root/guest.sh

it_installs_without_network_and_is_ready() {
    apt-get install --yes --no-install-recommends /root/sensor_*.deb || return 1
    systemctl is-active sensor || return 1
    systemctl is-enabled sensor || return 1
    journalctl --unit sensor --output cat | grep 'sensor: ready: ' || return 1
    journalctl --unit sensor --output cat | grep 'sensor: confined: no_new_privs, seccomp' || return 1
    # All that the units says was understood.
    ! journalctl --boot --output cat | grep 'sensor.service:.*ignoring'
    sensor config check || return 1
    test -s /usr/share/man/man1/sensor-run.1.gz && test -s /usr/share/doc/sensor/sbom.cdx.json
}

an_attack_is_alerted() {
    alerted 99evil || return 1
    has '"name":"APT Package Manager Configuration File Creation"' || return 1
    has '"executable":"/usr/bin/sh"' || has '"executable":"/usr/bin/dash"'
}

# Each file is found, read and hashed although the service may not write there.
evidence_is_right_in() {
    dir=$1
    # Whole before it has its name.
    echo "evidence of $dir" >"$dir/unnamed" && mv "$dir/unnamed" "$dir/evidence-probe"
    alert_on "$dir/evidence-probe" || return 1
    has "\"sha256\":\"$(echo "evidence of $dir" | sha256sum | cut -d ' ' -f 1)\"" || return 1
    has "evidence of $dir" || return 1
    has '"working_directory":"' && has '"name":"root"'
}

evidence_is_right_in_tmp_root_and_home() {
    mkdir -p /home/alice /etc/sensor/rules
    probe_rule evidence-probe >/etc/sensor/rules/probe.toml
    sed -i '/^\[rules\]/,/^paths/s/^paths = .*/paths = ["rules"]/' /etc/sensor/sensor.toml
    grep -x 'paths = \["rules"\]' /etc/sensor/sensor.toml || return 1
    sensor config check || return 1
    systemctl restart sensor || return 1
    for dir in /tmp /root /home/alice /var/tmp /dev/shm; do
        evidence_is_right_in $dir || return 1
    done
}

# A process with a root and a control group as a container's: evidence is read within that root.
evidence_is_right_in_a_container() {
    id=$(printf '%064d' 7)
    root=/run/container
    mkdir -p $root && mount -t tmpfs none $root || return 1
    for program in /bin/sh /bin/mv /bin/sleep; do
        cp --parents --dereference $program $(ldd $program | grep -o '/[^ ]*') $root || return 1
    done
    script='echo "evidence of a container" >/unnamed; mv /unnamed /evidence-probe; sleep 1000'
    systemd-run --quiet --scope --unit=docker-$id chroot $root /bin/sh -c "$script" &
    wait_for "grep -q 'evidence of a container' $ALERTS" || return 1
    line=$(grep 'evidence of a container' $ALERTS | head -n 1)
    systemctl stop docker-$id.scope
    has '"path":"/evidence-probe"' && has "$id" || return 1
    has "\"sha256\":\"$(echo 'evidence of a container' | sha256sum | cut -d ' ' -f 1)\""
}

programs_have_hashes() {
    cp /bin/sh /home/alice/own-shell || return 1
    # Its second run: the first may be over before its file is read.
    for run in 1 2 3; do
        /home/alice/own-shell -c ': >/home/alice/unnamed; mv /home/alice/unnamed /home/alice/evidence-probe; rm /home/alice/evidence-probe'
    done
    own=$(sha256sum /home/alice/own-shell | cut -d ' ' -f 1)
    wait_for "sensor store export /var/lib/sensor/store | grep '/home/alice/own-shell' | grep -q $own"
}

every_thread_is_confined() {
    pid=$(main_pid)
    for thread in /proc/$pid/task/*; do
        cat $thread/comm
        grep -qx 'NoNewPrivs:	1' $thread/status && grep -qx 'Seccomp:	2' $thread/status || return 1
        # At most CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
        kept=$(sed -n 's/^CapEff:\t//p' $thread/status)
        [ $((0x$kept & ~0x80004)) -eq 0 ] || { echo "keeps $kept"; return 1; }
    done
    sensor status || return 1
    sensor status | grep '^confined' || return 1
    # Nothing below /usr or /etc can be written, whoever asks within the unit.
    ! nsenter --target "$pid" --mount touch /usr/written
}

files_and_sockets_are_not_for_everybody() {
    find /var/lib/sensor /var/log/sensor /run/sensor /etc/sensor/sensor.toml -ls
    [ -z "$(find /var/lib/sensor /var/log/sensor /etc/sensor/sensor.toml -type f -perm /0137)" ] || return 1
    [ -z "$(find /var/lib/sensor /var/log/sensor /run/sensor -type d -perm /0027)" ] || return 1
    [ -z "$(find /var/lib/sensor /var/log/sensor /run/sensor ! -user root -o ! -group root ! -group adm)" ] || return 1
    [ "$(stat -c %a:%U:%G $ALERTS)" = 640:root:adm ] || return 1
    [ "$(find /run/sensor -type s -printf '%m\n')" = 600 ] || return 1
    # To everybody else it is as if there were nothing.
    ! setpriv --reuid=65534 --regid=65534 --clear-groups sensor status
}

the_journal_has_the_alert() {
    wait_for "journalctl SYSLOG_IDENTIFIER=sensor SENSOR_RULE_NAME='APT Package Manager Configuration File Creation' --output cat | grep 99evil"
}

# A shell that lives on writes a file for each name that it is told.
told() {
    [ -p /run/tell ] || {
        mkfifo /run/tell
        sh -c 'while read -r name; do echo "DPkg::Pre-Invoke {\"$name\";};" >/etc/apt/apt.conf.d/$name; done' </run/tell &
        teller=$!
        exec 9>/run/tell
    }
    echo "$1" >&9
    wait_for "grep -q '/etc/apt/apt.conf.d/$1' $ALERTS" || return 1
    line=$(grep "/etc/apt/apt.conf.d/$1" $ALERTS | head -n 1)
    rm "/etc/apt/apt.conf.d/$1"
}
ids_of() {
    echo "$line" | grep -o '"entity_id":"[^"]*"' | sort -u
}
ready_again() {
    [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && systemctl is-active --quiet sensor
}

a_restart_keeps_ids_and_events() {
    told 90before || return 1
    before=$(ids_of)
    agent_before=$(agent)
    [ -n "$before" ] && [ -n "$agent_before" ] || return 1
    systemctl restart sensor || return 1
    told 91after || return 1
    [ "$(ids_of)" = "$before" ] || { echo "$before"; ids_of; return 1; }
    [ "$(agent)" = "$agent_before" ] || return 1
    # kill -9 as well; what was committed is there.
    pid=$(main_pid)
    wait_for "sensor store export /var/lib/sensor/store | grep -q 91after" || return 1
    kill -9 "$pid"
    wait_for "ready_again $pid" || return 1
    told 92killed || return 1
    [ "$(ids_of)" = "$before" ] && [ "$(agent)" = "$agent_before" ] || return 1
    # The unit's own program seals what the earlier runs have left.
    wait_for "find /var/lib/sensor/store -name '*.parquet' | grep -q ." || return 1
    for name in 90before 91after; do
        sensor store export /var/lib/sensor/store | grep -q "/etc/apt/apt.conf.d/$name" || return 1
    done
    kill "$teller"
    exec 9>&-
}

fetch() {
    busybox wget -q -O - "http://127.0.0.1:$1"
}
metric() {
    fetch 9464/metrics | grep -xF "$1"
}

health_is_told_on_this_machine() {
    configure health listen '"127.0.0.1:9464"' && systemctl restart sensor || return 1
    fetch 9464/healthz && fetch 9464/readyz || return 1
    alerted 85measured || return 1
    fetch 9464/metrics >/out/metrics || return 1
    for name in build_info events_total lost_total rule_matches_total alerts_total hook_attached \
        process_table_entries process_table_evictions_total process_table_misses_total store_events_total \
        sink_lines_total delay_seconds_bucket reloads_total confined ready uptime_seconds; do
        grep "^sensor_$name[ {]" /out/metrics | head -n 1 | grep . || { echo "no sensor_$name"; return 1; }
    done
    metric 'sensor_ready 1'
}

a_reload_takes_effect_or_changes_nothing() {
    pid=$(main_pid)
    sed 's/evidence-probe/reload-probe/; s/000007/000008/; s/"Probe"/"Reloaded"/' /etc/sensor/rules/probe.toml \
        >/etc/sensor/rules/reloaded.toml
    systemctl reload sensor || return 1
    : >/root/reload-probe
    wait_for "grep -q '\"name\":\"Reloaded\"' $ALERTS" || return 1
    sensor status | grep '^reload' || return 1
    kill -HUP "$pid"
    wait_for "metric 'sensor_reloads_total{result=\"done\"} 2'" || return 1
    echo 'nonsense = [' >>/etc/sensor/sensor.toml
    ! systemctl reload sensor || return 1
    systemctl is-active sensor || return 1
    said=$(sensor reload 2>&1) && return 1
    echo "$said"
    # The file, the line, and what is wrong with it.
    echo "$said" | grep "/etc/sensor/sensor.toml:$(wc -l </etc/sensor/sensor.toml)" || return 1
    journalctl --unit sensor --output cat | grep 'reload: nothing was changed' || return 1
    sed -i '/^nonsense/d' /etc/sensor/sensor.toml
    echo 'query = broken' >/etc/sensor/rules/reloaded.toml
    ! systemctl reload sensor || return 1
    sensor status | grep 'reloaded.toml' || return 1
    rm /root/reload-probe && : >/root/reload-probe
    wait_for "[ \$(grep -c '\"path\":\"/root/reload-probe\"' $ALERTS) -ge 2 ]" || return 1
    rm /etc/sensor/rules/reloaded.toml
    systemctl reload sensor || return 1
    metric 'sensor_reloads_total{result="done"} 3' && metric 'sensor_reloads_total{result="refused"} 3' || return 1
    fetch 9464/readyz && sensor status || return 1
    [ "$(main_pid)" = "$pid" ]
}

# Answers as OpenSearch does.
search_server() {
    /root/osmem-server -addr 127.0.0.1:9200 -no-stdin-watch >/out/osmem.log 2>&1 &
    searcher=$!
    wait_for 'fetch 9200/'
}
# Takes requests, but for the first, and writes their bodies down.
hook_server() {
    perl -MIO::Socket::INET -e '
        my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8080, Listen => 5) or die $!;
        my $status = "503 Busy";
        $| = 1;
        while (my $peer = $server->accept) {
            my $length = 0;
            while (<$peer>) {
                $length = $1 if /^content-length: *(\d+)/i;
                last if /^\r?$/;
            }
            read $peer, my $body, $length;
            print "$status $body\n";
            print $peer "HTTP/1.1 $status\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            $status = "200 OK";
        }' >/out/hooks 2>&1 &
    hooker=$!
}
indexed() {
    fetch "9200/$1/_search?size=10000" | grep -q "$2"
}

# Through Landlock, seccomp and the unit's own limits, by the name of a host too.
senders_work_under_the_unit() {
    search_server && hook_server || return 1
    configure outputs.elasticsearch url '"http://localhost:9200"' || return 1
    configure outputs.webhook url '"http://127.0.0.1:8080/alert"' || return 1
    configure outputs.alerts syslog '"/dev/log"' || return 1
    configure health listen '"127.0.0.1:9464"' || return 1
    systemctl restart sensor && alerted 80sent || return 1
    wait_for 'indexed logs-endpoint.alerts-default apt.conf.d/80sent' || return 1
    wait_for 'indexed logs-endpoint.events.file-default apt.conf.d/80sent' || return 1
    wait_for "grep -q '^200 OK .*apt.conf.d/80sent' /out/hooks" || return 1
    grep -q '^503 Busy ' /out/hooks || return 1
    wait_for 'journalctl _TRANSPORT=syslog --output cat | grep apt.conf.d/80sent' || return 1
    sensor status | grep 'send: no_new_privs, seccomp, Landlock' || return 1
    every_thread_is_confined || return 1
    # An outage, in which the sensor is killed.
    kill -9 "$searcher"
    alerted 81kept || return 1
    wait_for "metric 'sensor_spool_documents{sink=\"elasticsearch-alerts\"} 1'" || return 1
    ! sensor status >/out/outage || return 1
    grep TROUBLE /out/outage || return 1
    pid=$(main_pid)
    kill -9 "$pid"
    wait_for "ready_again $pid" && search_server || return 1
    wait_for 'indexed logs-endpoint.alerts-default apt.conf.d/81kept' || return 1
    wait_for 'sensor status' || return 1
    kill -9 "$searcher" "$hooker"
    configure outputs.elasticsearch url '""' && configure outputs.webhook url '""' || return 1
    configure outputs.alerts syslog '""' && systemctl restart sensor
}

# The first run comes a minute after the start; what the program finds comes through a pipe.
hunts_run_on_a_schedule() {
    configure hunts paths '["/usr/share/sensor/hunts"]' || return 1
    configure outputs.events path '"/var/log/sensor/events.ndjson"' || return 1
    systemctl restart sensor && alerted 84hunted || return 1
    wait_for "grep -F 'sensor.hunt\"' /var/log/sensor/events.ndjson" 300 || return 1
    ! journalctl --unit sensor --output cat | grep 'hunts c' || return 1
    configure hunts paths '[]' && configure outputs.events path '""' && systemctl restart sensor
}

a_second_one_is_refused() {
    said=$(sensor run 2>&1) && return 1
    echo "$said"
    echo "$said" | grep -q "$(main_pid)" && systemctl is-active sensor
}

a_stopped_one_stays_stopped() {
    systemctl stop sensor || return 1
    [ "$(systemctl show --property ActiveState --value sensor)" = inactive ] || return 1
    journalctl --unit sensor --output cat | grep 'stopped by SIGTERM' || return 1
    [ ! -e /run/sensor ] || return 1
    systemctl start sensor && alerted 93again
}

a_sensor_that_hangs_is_begun_anew() {
    mkdir -p /run/systemd/system/sensor.service.d
    printf '[Service]\nWatchdogSec=3\n' >/run/systemd/system/sensor.service.d/hurry.conf
    systemctl daemon-reload && systemctl restart sensor || return 1
    pid=$(main_pid)
    kill -STOP "$pid"
    wait_for "ready_again $pid" || return 1
    journalctl --unit sensor --output cat | grep -i watchdog || return 1
    rm -r /run/systemd/system/sensor.service.d
    systemctl daemon-reload && systemctl restart sensor && alerted 94anew
}

the_unit_exposes_little() {
    systemd-analyze security --no-pager sensor | tail -n 1
    exposure=$(systemd-analyze security --no-pager sensor | sed -n 's/.*Overall exposure level for sensor.service: \([0-9.]*\).*/\1/p')
    echo "measured: systemd-analyze security: $exposure" >/out/measured
    systemd-analyze security --no-pager --threshold=30 sensor >/dev/null
}

# A time is what is measured here.
it_costs_little_when_idle() {
    group=/sys/fs/cgroup/system.slice/sensor.service
    used() { sed -n 's/^usage_usec //p' $group/cpu.stat; }
    wait_for '[ -n "$(used)" ]' || return 1
    sleep 5
    from=$(used)
    sleep 30
    cpu=$(($(used) - from))
    memory=$(sed -n "s/^Rss\(Anon\|File\):[ \t]*/\1 /p" /proc/$(main_pid)/status | tr "\n" " ")
    echo "measured: idle for 30 s: $cpu microseconds of CPU; resident $memory; $(cat $group/memory.current) bytes in its group" \
        >>/out/measured
    # A tenth of one CPU: the processor may be emulated, and others may use the machine.
    [ "$cpu" -lt 3000000 ]
}

files() {
    find / -xdev \( -path /root -o -path /out -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/cache -o \
        -path /var/log -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /home \) -prune -o -print | sort
    find /var/log /var/lib /etc /home -name '*sensor*'
    find /var/lib/dpkg/info /var/lib/systemd
}

an_upgrade_keeps_what_is_an_administrators() {
    pid=$(main_pid)
    before=$(agent)
    cp /etc/sensor/sensor.toml /out/
    dpkg --install /root/sensor_*.deb || return 1
    wait_for "ready_again $pid" || return 1
    cmp /etc/sensor/sensor.toml /out/sensor.toml && [ "$(agent)" = "$before" ] || return 1
    systemctl disable sensor && dpkg --install /root/sensor_*.deb || return 1
    ! systemctl is-enabled sensor || return 1
    systemctl enable sensor
}

removal_keeps_and_purging_leaves_nothing() {
    agent_before=$(agent)
    dpkg -r sensor || return 1
    ! systemctl is-active sensor || return 1
    [ ! -e /usr/bin/sensor ] && [ ! -e /usr/lib/systemd/system/sensor.service ] || return 1
    [ -s $ALERTS ] && [ -s /etc/sensor/sensor.toml ] && [ -d /var/lib/sensor/store ] || return 1
    apt-get install --yes --no-install-recommends /root/sensor_*.deb || return 1
    [ "$(agent)" = "$agent_before" ] || return 1
    cp $ALERTS /out/
    dpkg -P sensor || return 1
    ! systemctl is-active sensor || return 1
    ! systemctl status sensor || return 1
    files | diff /out/files - || return 1
}

the_archive_does_the_same() {
    busybox xz -dc /root/sensor-*.tar.xz | tar -x -C /root || return 1
    install=$(echo /root/sensor-*/install.sh)
    $install || return 1
    wait_for 'systemctl is-active --quiet sensor' && systemctl is-enabled sensor || return 1
    alerted 95archive || return 1
    before=$(agent)
    # An upgrade.
    pid=$(main_pid)
    $install || return 1
    wait_for "ready_again $pid" && [ "$(agent)" = "$before" ] || return 1
    $install --uninstall || return 1
    ! systemctl is-active sensor || return 1
    [ ! -e /usr/bin/sensor ] && [ ! -e /usr/lib/systemd/system/sensor.service ] || return 1
    [ -s $ALERTS ] && [ -s /etc/sensor/sensor.toml ] && [ -d /var/lib/sensor/store ] || return 1
    $install --purge || return 1
    files | diff /out/files -
}

mkdir -p /out
# An installer would have made it.
[ -e /etc/hosts ] || echo '127.0.0.1 localhost' >/etc/hosts
files >/out/files
run_tests it_installs_without_network_and_is_ready an_attack_is_alerted the_journal_has_the_alert \
    evidence_is_right_in_tmp_root_and_home evidence_is_right_in_a_container programs_have_hashes \
    every_thread_is_confined files_and_sockets_are_not_for_everybody a_restart_keeps_ids_and_events \
    health_is_told_on_this_machine a_reload_takes_effect_or_changes_nothing senders_work_under_the_unit \
    hunts_run_on_a_schedule a_second_one_is_refused a_stopped_one_stays_stopped \
    a_sensor_that_hangs_is_begun_anew the_unit_exposes_little it_costs_little_when_idle \
    an_upgrade_keeps_what_is_an_administrators removal_keeps_and_purging_leaves_nothing the_archive_does_the_same
