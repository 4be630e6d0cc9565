#!/bin/sh
# Inside the machine: what its tests have in common. One line for each test.
set -u
export DEBIAN_FRONTEND=noninteractive
ALERTS=/var/log/sensor/alerts.ndjson
HOOKS=/etc/apt/apt.conf.d

# Waits for a condition, not for a time; what does not come true in so many seconds ends the test.
wait_for() {
    deadline=$(($(date +%s) + ${2-120}))
    until eval "$1"; do
        if [ "$(date +%s)" -gt "$deadline" ]; then
            echo "waited in vain: $1"
            return 1
        fi
        sleep 0.2
    done
}

# Waits for the alert on this file, and leaves its line in $line.
alert_on() {
    wait_for "grep -q '\"path\":\"$1\"' $ALERTS" || return 1
    line=$(grep "\"path\":\"$1\"" $ALERTS | head -n 1)
}
has() {
    case "$line" in
    *"$1"*) ;;
    *) echo "the alert lacks $1: $line"; return 1 ;;
    esac
}

# Plants a hook and waits for its alert.
alerted() {
    echo "DPkg::Pre-Invoke {\"$1\";};" >"$HOOKS/$1"
    alert_on "$HOOKS/$1" || return 1
    rm "$HOOKS/$1"
}

main_pid() {
    systemctl show --property MainPID --value sensor
}
agent() {
    sensor status | sed -n 's/.*agent //p' | head -n 1
}

# A key of the configuration, in its section.
configure() {
    sed -i "/^\[$1\]/,/^\[/s|^$2 = .*|$2 = $3|" /etc/sensor/sensor.toml
    grep -qxF "$2 = $3" /etc/sensor/sensor.toml
}

# A rule on files of this name.
probe_rule() {
    cat <<RULE
[metadata]
creation_date = "2026/01/01"
maturity = "production"
updated_date = "2026/01/01"

[rule]
author = ["sensor"]
description = "Files by which the test knows its own."
index = ["logs-endpoint.events.file*"]
language = "eql"
license = "Apache-2.0"
name = "Probe"
risk_score = 1
rule_id = "00000000-0000-4000-8000-000000000007"
severity = "low"
type = "eql"
query = 'file where file.name == "$1"'
RULE
}

run_tests() {
    passed=0
    failed=0
    for test in "$@"; do
        begun=$(date +%s)
        if "$test" >/out/$test.log 2>&1; then
            passed=$((passed + 1))
            echo "test $test ... ok ($(($(date +%s) - begun)) s)"
        else
            failed=$((failed + 1))
            echo "test $test ... FAILED ($(($(date +%s) - begun)) s)"
            tail -n 30 /out/$test.log | sed 's/^/    /'
            # What came before the failure, for whoever looks into it.
            journalctl --unit sensor --output cat --no-pager 2>/dev/null | tail -n 20 | sed 's/^/    | /'
        fi
    done
    journalctl --boot --no-pager >/out/journal 2>/dev/null
    cat /out/measured 2>/dev/null
    echo "livetest: $passed passed, $failed failed"
}
