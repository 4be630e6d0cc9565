#!/bin/sh
# Installs what lies beside this script, or removes it again.
#
#   ./install.sh                 installs, and starts the service where systemd runs
#   ./install.sh --uninstall     removes; configuration, events, alerts and the agent's id stay
#   ./install.sh --purge         removes those too
#
# DESTDIR=/some/root installs below another root and starts nothing.
set -eu

cd "$(dirname "$0")"
DESTDIR=${DESTDIR-}
CONFIGURATION=etc/sensor/sensor.toml

say() {
    printf '%s\n' "$*"
}

fail() {
    say "install.sh: $*" >&2
    exit 1
}

# Whether there is a running systemd to tell.
is_managed() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]
}

install_all() {
    [ "$(uname -m)" = x86_64 ] || fail "this is for x86_64, here is $(uname -m)"
    ./root/usr/bin/sensor --version >/dev/null || fail "the program does not run here"
    find root -type d | sed 's,^root/*,,' | while read -r folder; do
        [ -d "$DESTDIR/$folder" ] || mkdir -p -m 0755 "$DESTDIR/$folder"
    done
    find root ! -type d | sed 's,^root/,,' | while read -r file; do
        if [ "$file" = "$CONFIGURATION" ] && [ -e "$DESTDIR/$file" ]; then
            if ! cmp -s "root/$file" "$DESTDIR/$file"; then
                say "kept: $DESTDIR/$file; the new one is beside it, as sensor.toml.new"
                cp -p "root/$file" "$DESTDIR/$file.new"
            fi
            continue
        fi
        # Beside it first: a program that runs cannot be written.
        cp -p "root/$file" "$DESTDIR/$file.installing"
        mv -f "$DESTDIR/$file.installing" "$DESTDIR/$file"
    done
    if [ "$(id -u)" = 0 ]; then
        find root ! -type d | sed 's,^root/,,' | while read -r file; do chown 0:0 "$DESTDIR/$file"; done
    fi
    if is_managed; then
        systemctl daemon-reload
        systemctl enable sensor.service
        systemctl restart sensor.service
    fi
    say "installed; sensor doctor tells what this host offers"
}

uninstall() {
    if is_managed; then
        systemctl disable --now sensor.service || true
    fi
    find root ! -type d | sed 's,^root/,,' | while read -r file; do
        [ "$file" = "$CONFIGURATION" ] || rm -f "$DESTDIR/$file"
    done
    if [ "$1" = purge ]; then
        rm -rf "$DESTDIR/etc/sensor" "$DESTDIR/var/lib/sensor" "$DESTDIR/var/log/sensor"
    fi
    # Only folders of our own: what is not empty stays, and what others use is not.
    find root -depth -type d -name '*sensor*' | sed 's,^root/,,' | while read -r folder; do
        [ ! -d "$DESTDIR/$folder" ] || find "$DESTDIR/$folder" -depth -type d -empty -delete
    done
    # And those of shells that nobody else has completions for.
    for folder in fish/vendor_completions.d fish zsh/site-functions zsh bash-completion/completions bash-completion; do
        rmdir "$DESTDIR/usr/share/$folder" 2>/dev/null || :
    done
    if is_managed; then
        systemctl daemon-reload
    fi
    say "removed"
}

case "${1-}" in
'') install_all ;;
--uninstall) uninstall keep ;;
--purge) uninstall purge ;;
*) fail "unknown: $1" ;;
esac
