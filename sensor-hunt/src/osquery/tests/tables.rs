//! Tables that read files, on files of our own.

use super::{below, rows, sorted, tree};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# no account\nann:x:1000:1000:Ann,,,:/home/ann:/bin/sh\n\
                      toor:x:0:0::/home/toor:/bin/sh\nbroken:x\nbob:x:1001:1001::/home/bob:/bin/false\n";

#[test]
fn accounts_with_the_same_id_are_all_there() {
    let root = tree(&[("etc/passwd", PASSWD), ("etc/group", "root:x:0:\nann:x:1000:\nsudo:x:27:ann,bob\n")]);
    let answer = below(root.path(), "SELECT username FROM users WHERE uid = 0");
    assert_eq!(sorted(&answer), ["root", "toor"]);
    let answer = below(root.path(), "SELECT username FROM users WHERE username != 'root' AND uid LIKE '0'");
    assert_eq!(rows(&answer), ["toor"]);
    let answer = below(root.path(), "SELECT uid, gid FROM user_groups WHERE gid = 27");
    assert_eq!(sorted(&answer), ["1000|27", "1001|27"]);
    let answer =
        below(root.path(), "SELECT username FROM users WHERE uid = 0 OR uid = 1000 OR username = 'ann'");
    assert_eq!(sorted(&answer), ["ann", "root", "toor"]);
}

#[test]
fn other_sources_of_accounts_are_named() {
    let root =
        tree(&[("etc/passwd", PASSWD), ("etc/nsswitch.conf", "passwd: files sss\ngroup: files systemd\n")]);
    let answer = below(root.path(), "SELECT count(*) FROM users");
    assert_eq!(answer.warnings, ["accounts of sss (nsswitch.conf, passwd) are not listed"]);
}

#[test]
fn shadow_says_how_but_not_what() {
    let shadow = "root:*:19700:0:99999:7:::\nann:$y$j9T$abc$def:19701:0:99999:7:14:20000:\nopen::1::::::\n\
                  locked:!$6$salt$hash:1:0:9:7:::\nunset:!!:1:0:9:7:::\nold:abJnggxhB/yWI:1:0:9:7:::\n";
    let root = tree(&[("etc/shadow", shadow)]);
    let sql = "SELECT username, password_status, hash_alg, last_change, min, max, warning, inactive, expire, flag FROM shadow";
    assert_eq!(
        rows(&below(root.path(), sql)),
        [
            "root|locked|null|19700|0|99999|7|-1|-1|-1",
            "ann|active|y|19701|0|99999|7|14|20000|-1",
            "open|empty|null|1|-1|-1|-1|-1|-1|-1",
            "locked|locked|null|1|0|9|7|-1|-1|-1",
            "unset|not_set|null|1|0|9|7|-1|-1|-1",
            "old|active|null|1|0|9|7|-1|-1|-1",
        ]
    );
}

#[test]
fn crontabs_are_read_line_by_line() {
    let root = tree(&[
        ("etc/crontab", "# c\nSHELL=/bin/sh\nPATH=/a:/b c d e f g\n17 *\t* * *  root  cd / && run-parts\n"),
        ("etc/cron.d/evil", "@reboot root /tmp/x\n* * * * *\n"),
        ("var/spool/cron/crontabs/ann", "  */5 1 2 3 4 /bin/true   a  \n"),
    ]);
    let sql = "SELECT event, minute, hour, day_of_month, month, day_of_week, command, path FROM crontab";
    let found = rows(&below(root.path(), sql));
    assert!(found.contains(&"null|17|*|*|*|*|root cd / && run-parts|/etc/crontab".to_owned()), "{found:?}");
    assert!(
        found.contains(&"@reboot|null|null|null|null|null|root /tmp/x|/etc/cron.d/evil".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"null|*/5|1|2|3|4|/bin/true a|/var/spool/cron/crontabs/ann".to_owned()),
        "{found:?}"
    );
    // Six words or more are taken for a job, as osquery takes them.
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn sudoers_follow_their_includes() {
    let root = tree(&[
        (
            "etc/sudoers",
            "Defaults\tenv_reset\n# text\nroot ALL=(ALL:ALL)  ALL\n@includedir /etc/sudoers.d\n#include local\n",
        ),
        ("etc/sudoers.d/ann", "ann ALL=(ALL) NOPASSWD: ALL\n"),
        ("etc/sudoers.d/off.disabled", "eve ALL=(ALL) ALL\n"),
        ("etc/sudoers.d/back~", "eve ALL=(ALL) ALL\n"),
        ("etc/local", "#include local\n%wheel ALL=(ALL) ALL\n"),
    ]);
    let answer = below(root.path(), "SELECT source, header, rule_details FROM sudoers");
    let found = rows(&answer);
    assert_eq!(found[0], "/etc/sudoers|Defaults|env_reset");
    assert_eq!(found[1], "/etc/sudoers|root|ALL=(ALL:ALL) ALL");
    assert_eq!(found[2], "/etc/sudoers|includedir|/etc/sudoers.d");
    assert_eq!(found[3], "/etc/sudoers.d/ann|ann|ALL=(ALL) NOPASSWD: ALL");
    assert_eq!(found[4], "/etc/sudoers|include|/etc/local");
    assert!(!found.iter().any(|it| it.contains("eve")), "{found:?}");
    // A file that includes itself ends.
    assert!(answer.warnings.iter().any(|it| it.contains("nest too deep")), "{:?}", answer.warnings);
}

const OPENSSH_KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZWQyNTUxOQ==\n\
    -----END OPENSSH PRIVATE KEY-----\n";

#[test]
fn keys_and_settings_of_every_user_are_read() {
    let root = tree(&[
        ("etc/passwd", PASSWD),
        ("root/.ssh/authorized_keys", "# mine\nssh-ed25519 AAAA root@a b\n"),
        ("home/ann/.ssh/authorized_keys", "command=\"a b\",no-pty ssh-rsa BBBB\n"),
        ("home/ann/.ssh/id_ed25519", OPENSSH_KEY),
        ("home/ann/.ssh/id_rsa", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nxx\n"),
        ("home/ann/.ssh/id_rsa.pub", "ssh-rsa BBBB\n"),
        ("home/ann/.ssh/config", "Host *.Example.org\n  ProxyCommand /tmp/x\n# c\nMatch all\nUser Bob\n"),
        ("etc/ssh/ssh_config", "SendEnv LANG\n"),
        ("home/ann/.bash_history", "ls\n#1700000000\nwget http://x\n"),
    ]);
    let of = |sql: &str| sorted(&below(root.path(), sql));
    assert_eq!(
        of("SELECT authorized_keys.* FROM users JOIN authorized_keys USING(uid) WHERE username != 'toor'"),
        [
            "0|ssh-ed25519|AAAA||root@a b|/root/.ssh/authorized_keys",
            "1000|ssh-rsa|BBBB|command=\\\"a b\\\",no-pty||/home/ann/.ssh/authorized_keys",
        ]
    );
    assert_eq!(
        of("SELECT uid, path, encrypted, key_type FROM user_ssh_keys"),
        ["1000|/home/ann/.ssh/id_ed25519|0|", "1000|/home/ann/.ssh/id_rsa|1|rsa"]
    );
    assert_eq!(
        of("SELECT * FROM ssh_configs"),
        [
            "0||sendenv lang|/etc/ssh/ssh_config",
            "1000|host *.example.org|proxycommand /tmp/x|/home/ann/.ssh/config",
            "1000|match all|user bob|/home/ann/.ssh/config",
        ]
    );
    assert_eq!(
        of("SELECT uid, time, command FROM shell_history"),
        ["1000|0|ls", "1000|1700000000|wget http://x"]
    );
}

#[test]
fn startup_items_of_users_and_init_are_listed() {
    let root = tree(&[
        ("etc/passwd", PASSWD),
        (
            "home/ann/.config/autostart/x.desktop",
            "[Desktop Entry]\nName=Evil = 1\nExec=/tmp/x --a=b\n[Desktop Action y]\nExec=/bin/true\n",
        ),
        ("root/.config/autostart-scripts/s", ""),
        ("etc/init.d/cron", ""),
        ("etc/xdg/autostart/empty.desktop", ""),
    ]);
    let sql = "SELECT name, path, args, type, source, status, username FROM startup_items";
    assert_eq!(
        sorted(&below(root.path(), sql)),
        [
            "Evil = 1|/tmp/x --a=b|null|Startup Item|/home/ann/.config/autostart/|enabled|ann",
            "cron|/etc/init.d/cron|null|Startup Item|/etc/init.d/|enabled|null",
            "null|null|null|Startup Item|/etc/xdg/autostart/|enabled|null",
            "s|/root/.config/autostart-scripts/s|null|Startup Item|/root/.config/autostart-scripts/|enabled|null",
        ]
    );
}

#[test]
fn apt_sources_of_both_forms_are_read() {
    let release = "-----BEGIN PGP SIGNED MESSAGE-----\nOrigin: Debian\nVersion: 13.1\nCodename: trixie\n\
                   Date: Sat, 06 Sep 2025 10:00:00 UTC\nArchitectures: all amd64\nComponents: main\n";
    let root = tree(&[
        (
            "etc/apt/sources.list",
            "# deb http://no x main\ndeb [arch=amd64 signed-by=/k] http://evil.example/apt/ ./ # c\ndeb-src http://no x main\n",
        ),
        (
            "etc/apt/sources.list.d/debian.sources",
            "Types: deb deb-src\nURIs: http://deb.example.net/debian\nSuites: trixie\n trixie-updates\nComponents: main\n\n\
             Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: x\n",
        ),
        ("etc/apt/sources.list.d/ignored.bak", "deb http://no x main\n"),
        ("var/lib/apt/lists/deb.example.net_debian_dists_trixie_InRelease", release),
    ]);
    let sql = "SELECT name, source, base_uri, release, version, maintainer, components, architectures FROM apt_sources";
    assert_eq!(
        sorted(&below(root.path(), sql)),
        [
            "deb.example.net/debian trixie-updates|/etc/apt/sources.list.d/debian.sources|http://deb.example.net/debian\
             |null|null|null|null|null",
            "deb.example.net/debian trixie|/etc/apt/sources.list.d/debian.sources|http://deb.example.net/debian\
             |trixie|13.1|Debian|main|all amd64",
            "evil.example/apt ./|/etc/apt/sources.list|http://evil.example/apt|null|null|null|null|null",
        ]
    );
}

#[test]
fn yum_sources_are_read() {
    let root = tree(&[
        ("etc/yum.conf", "[main]\ngpgcheck=1\n[inline]\nname=Inline\nbaseurl=http://i\n"),
        (
            "etc/yum.repos.d/a.repo",
            "[a]\nname = A repo\nbaseurl=http://a\n  http://b\nenabled=1\ngpgcheck=0\n; c\n[b]\nmirrorlist=http://m\n",
        ),
        ("etc/yum.repos.d/a.repo.rpmsave", "[no]\nname=no\n"),
    ]);
    assert_eq!(
        sorted(&below(root.path(), "SELECT * FROM yum_sources")),
        [
            "A repo|http://a http://b|null|1|0|null",
            "Inline|http://i|null|null|null|null",
            "null|null|http://m|null|null|null"
        ]
    );
}

#[test]
fn packages_of_a_status_file_are_read() {
    let status = "Package: a\nStatus: install ok installed\nVersion: 1:2.0-3\nArchitecture: amd64\nInstalled-Size: 12\n\
                  Source: asrc (1.0)\nDescription: x\n Package: no\n\nPackage: gone\nStatus: deinstall ok config-files\n";
    let root = tree(&[("var/lib/dpkg/status", status)]);
    assert_eq!(
        rows(&below(root.path(), "SELECT name, version, revision, source, size, status FROM deb_packages")),
        ["a|1:2.0-3|3|asrc|12|install ok installed", "gone||||null|deinstall ok config-files"]
    );
}

#[test]
fn logins_are_read_from_their_records() {
    let record = |kind: i16, pid: i32, user: &[u8], seconds: i32| {
        let mut bytes = vec![0_u8; 384];
        bytes[0..2].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&pid.to_ne_bytes());
        bytes[8..13].copy_from_slice(b"pts/0");
        bytes[44..44 + user.len()].copy_from_slice(user);
        bytes[76..84].copy_from_slice(b"10.0.0.9");
        bytes[340..344].copy_from_slice(&seconds.to_ne_bytes());
        bytes
    };
    let mut bytes = record(2, 0, b"reboot", 5);
    bytes.extend(record(7, 4242, b"ann", 1_700_000_000));
    bytes.extend(record(8, 4242, b"", 1_700_000_100));
    bytes.extend([1; 100]);
    let root = tree(&[]);
    std::fs::create_dir_all(root.path().join("run")).unwrap();
    std::fs::create_dir_all(root.path().join("var/log")).unwrap();
    std::fs::write(root.path().join("run/utmp"), &bytes).unwrap();
    std::fs::write(root.path().join("var/log/wtmp"), &bytes).unwrap();
    assert_eq!(
        rows(&below(root.path(), "SELECT * FROM logged_in_users")),
        [
            "boot_time|reboot|pts/0|10.0.0.9|5|0",
            "user|ann|pts/0|10.0.0.9|1700000000|4242",
            "dead||pts/0|10.0.0.9|1700000100|4242"
        ]
    );
    assert_eq!(
        rows(&below(root.path(), "SELECT username, type, type_name, time FROM last")),
        ["ann|7|user-process|1700000000", "|8|dead-process|1700000100"]
    );
}

#[test]
fn the_system_names_itself() {
    let release = "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\nVERSION='13 (trixie)'\nID=debian\nVERSION_CODENAME=trixie\n";
    let root = tree(&[("etc/os-release", release), ("etc/hosts", "127.0.0.1 localhost\n10.0.0.1 a b # c\n")]);
    assert_eq!(
        rows(&below(root.path(), "SELECT name, version, major, minor, platform, codename FROM os_version")),
        ["Debian GNU/Linux|13 (trixie)|13|0|debian|trixie"]
    );
    assert_eq!(rows(&below(root.path(), "SELECT * FROM etc_hosts")), ["127.0.0.1|localhost", "10.0.0.1|a b"]);
}

#[test]
fn firmware_of_both_interfaces_is_read() {
    let id = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let root = tree(&[]);
    let vars = root.path().join("sys/firmware/efi/efivars");
    std::fs::create_dir_all(&vars).unwrap();
    std::fs::write(vars.join(format!("SecureBoot-{id}")), [6, 0, 0, 0, 1]).unwrap();
    std::fs::write(vars.join(format!("SetupMode-{id}")), [6, 0, 0, 0, 0]).unwrap();
    assert_eq!(rows(&below(root.path(), "SELECT * FROM secureboot")), ["1|0"]);
    let without = tree(&[]);
    let answer = below(without.path(), "SELECT * FROM secureboot");
    assert!(answer.rows.is_empty() && answer.warnings.len() == 1, "{answer:?}");
}

#[test]
fn what_runs_is_not_looked_for_in_an_image() {
    let root = tree(&[("etc/passwd", PASSWD)]);
    for table in ["processes", "process_open_sockets", "listening_ports", "docker_images", "mounts"] {
        let answer = below(root.path(), &format!("SELECT * FROM {table}"));
        assert!(
            answer.rows.is_empty() && answer.warnings.iter().any(|it| it.contains("nothing runs")),
            "{table}"
        );
    }
}
