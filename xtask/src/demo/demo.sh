#!/bin/sh
# The demo's other process: acts as an intruder and as a package manager while the sensor watches.
# Wants SENSOR, ACTOR, RULES, OUT, EXCLUDED (where a copy of the actor may stand), APT_DIR.
set -eu

hook='APT::Update::Pre-Invoke {"true";};'
elsewhere=/etc/apt/sensor-demo-payload
sensor=

clean() {
    [ -z "$sensor" ] || kill "$sensor" 2>/dev/null || true
    rm -f "$APT_DIR/99demo-hook" "$APT_DIR/98demo-moved" "$APT_DIR/97demo-package" "$APT_DIR/96demo-edit.swp" \
        "$elsewhere" "$EXCLUDED"
}
trap clean EXIT
trap 'exit 130' INT TERM

say() {
    echo "  - $*"
}

# What the demo writes must not hide or destroy what someone else put there.
for path in "$APT_DIR/99demo-hook" "$APT_DIR/98demo-moved" "$APT_DIR/97demo-package" "$APT_DIR/96demo-edit.swp" \
    "$elsewhere" "$EXCLUDED"; do
    if [ -e "$path" ]; then
        trap - EXIT
        echo "$path exists already: the demo leaves it alone" >&2
        exit 1
    fi
done

cp "$ACTOR" "$EXCLUDED"
"$SENSOR" run --rules "$RULES" --output "$OUT/events.ndjson" --alerts "$OUT/alerts.ndjson" \
    >"$OUT/sensor.out" 2>"$OUT/sensor.log" &
sensor=$!
tries=0
until grep -q ready "$OUT/sensor.log"; do
    tries=$((tries + 1))
    if ! kill -0 "$sensor" 2>/dev/null || [ "$tries" -gt 300 ]; then
        echo "the sensor did not become ready; it said:" >&2
        cat "$OUT/sensor.log" >&2
        exit 1
    fi
    sleep 0.1
done

echo "The sensor is running. Another process now"
# By their paths: a busybox shell would run its own applets without executing anything.
say "writes an executable hook:     /usr/bin/sh -c 'echo ... >$APT_DIR/99demo-hook'"
/usr/bin/sh -c "echo '$hook' >$APT_DIR/99demo-hook"
say "moves one into the directory:  /usr/bin/mv $elsewhere $APT_DIR/98demo-moved"
/usr/bin/sh -c "echo '$hook' >$elsewhere"
/usr/bin/mv "$elsewhere" "$APT_DIR/98demo-moved"
say "does it as a package manager:  $EXCLUDED ... $APT_DIR/97demo-package (excluded by the rule)"
"$EXCLUDED" act create "$APT_DIR/97demo-package" "$hook"
say "leaves an editor's swap file:  $APT_DIR/96demo-edit.swp (excluded by the rule)"
/usr/bin/sh -c "echo >$APT_DIR/96demo-edit.swp"
say "writes a file elsewhere:       $elsewhere (harmless)"
/usr/bin/sh -c "echo >$elsewhere"

kill -TERM "$sensor"
status=0
wait "$sensor" || status=$?
sensor=
if [ "$status" -ne 0 ]; then
    echo "the sensor ended with status $status; it said:" >&2
    cat "$OUT/sensor.log" >&2
    exit 1
fi
