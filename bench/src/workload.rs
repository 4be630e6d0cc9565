//! A morning on a Debian server: packages are upgraded, something is compiled, cron and a web server run, an
//! administrator works in a shell. Nobody attacks, so that hardly a rule matches, as on most days.
//!
//! File events come in bursts, process after process, in the numbers in which such programs make them.

use std::sync::Arc;

use sensor_ecs::{
    Action, Agent, Arguments, Credentials, Digits, Event, EventId, EventMeta, Executable, FileFields,
    FileType, Host, Image, Integration, Outcome, PathView, Process, ProcessView, Scalar, Tty, capabilities,
};

/// One program run.
struct Run {
    process: Process,
    parent: usize,
    /// Paths of the files that it made, and the former path of those that it renamed.
    files: Vec<(String, Option<String>)>,
}

/// The owned half of the events.
pub struct Workload {
    host: Host,
    agent: Agent,
    ancestry: Vec<Scalar>,
    runs: Vec<Run>,
}

/// An event, and the number of the process that caused it.
#[derive(Clone, Copy)]
pub struct Case<'w> {
    pub event: Event<'w>,
    pub process: u64,
}

impl Workload {
    pub fn new() -> Self {
        let text = |text: &str| Some(text.as_bytes().into());
        let mut all = Self {
            host: Host {
                id: text("48c1b3f1ac5da4e0057fc9f60f4d1d5d"),
                hostname: b"web01".as_slice().into(),
                name: b"web01".as_slice().into(),
                architecture: b"x86_64".as_slice().into(),
                kernel: b"6.1.0-18-amd64 #1 SMP".as_slice().into(),
                os_name: text("Debian GNU/Linux"),
                os_id: text("debian"),
                os_version: text("12"),
                os_full: text("Debian GNU/Linux 12"),
                ip: vec![Scalar::keyword("10.0.2.15")],
                mac: vec![Scalar::keyword("02-B6-64-F1-A5-F0")],
                boot_id: text("6d1c3c7e-7d5c-4a3f-8a3c-9f0f6b2b7c11"),
                pid_ns: text("4026531836"),
            },
            agent: Agent {
                id: b"7829f26d-c2d1-4eaf-a1ac-cd9cb9e12f75".as_slice().into(),
                version: b"0.1.0".as_slice().into(),
                namespace: b"default".as_slice().into(),
            },
            ancestry: vec![Scalar::keyword("a5b6c7d8"), Scalar::keyword("a1b2c3d4")],
            runs: Vec::new(),
        };
        let init = all.run(0, 0, "/usr/lib/systemd/systemd", "/sbin/init");
        all.upgrade(init);
        all.compilation(init);
        all.cron(init);
        all.web(init);
        all.shell(init);
        all.containers(init);
        all
    }

    fn run(&mut self, parent: usize, uid: u32, executable: &str, command: &str) -> usize {
        let number = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        let mut argv = command.replace(' ', "\0").into_bytes();
        argv.push(0);
        let id = format!("{number:08x}-0000-1000-a000-0000{:08x}", number * 77);
        let mut credentials = Credentials::default();
        for account in [&mut credentials.user, &mut credentials.group, &mut credentials.real_user] {
            account.id = Some(uid.to_string().into_bytes().into());
            account.name = Some(if uid == 0 { b"root".as_slice() } else { b"alice".as_slice() }.into());
        }
        if uid == 0 {
            let all = capabilities((1 << 41) - 1);
            (credentials.capabilities_effective, credentials.capabilities_permitted) = (all.clone(), all);
        }
        let process = Process {
            start_ns: Some(1_700_000_000_000_000_000 + i64::from(number) * 1_000_000),
            image: Arc::new(Image {
                executable: Some(Executable::new(executable.as_bytes())),
                arguments: Arguments::from_nul_terminated(&argv, None, false),
                ..Image::default()
            }),
            credentials: Arc::new(credentials),
            working_directory: Some(
                if uid == 0 { b"/".as_slice() } else { b"/home/alice".as_slice() }.into(),
            ),
            tty: (uid != 0).then_some(Tty { major: 136, minor: 0 }),
            interactive: Some(uid != 0),
            ..Process::new(1000 + number, id.into_bytes().into())
        };
        self.runs.push(Run { process, parent, files: Vec::new() });
        self.runs.len() - 1
    }

    fn creates(&mut self, run: usize, path: impl Into<String>) {
        self.runs[run].files.push((path.into(), None));
    }

    /// As careful programs write: under another name first.
    fn replaces(&mut self, run: usize, path: &str, beside: &str) {
        self.creates(run, beside);
        self.runs[run].files.push((path.to_owned(), Some(beside.to_owned())));
    }

    fn upgrade(&mut self, init: usize) {
        let apt = self.run(init, 0, "/usr/bin/apt-get", "apt-get -y upgrade");
        for list in ["security", "main", "updates"] {
            let method = self.run(apt, 0, "/usr/lib/apt/methods/http", "/usr/lib/apt/methods/http");
            self.creates(
                method,
                format!("/var/lib/apt/lists/partial/deb.debian.org_debian_{list}_InRelease"),
            );
            for number in 0..4 {
                self.creates(
                    method,
                    format!("/var/cache/apt/archives/partial/lib{list}{number}_1.2_amd64.deb"),
                );
            }
        }
        self.replaces(apt, "/var/cache/apt/pkgcache.bin", "/var/cache/apt/pkgcache.bin.x1Y2z3");
        let dpkg = self.run(
            apt,
            0,
            "/usr/bin/dpkg",
            "/usr/bin/dpkg --status-fd 21 --no-triggers --unpack --auto-deconfigure --recursive /tmp/apt-dpkg-install-a1",
        );
        for package in ["openssl", "curl", "libc6", "python3.11", "vim-common"] {
            self.run(
                dpkg,
                0,
                "/usr/bin/dpkg-deb",
                &format!("dpkg-deb --fsys-tarfile /var/cache/apt/archives/{package}_amd64.deb"),
            );
            self.run(
                dpkg,
                0,
                "/usr/bin/dpkg-split",
                &format!("dpkg-split -Qao /var/lib/dpkg/reassemble.deb {package}_amd64.deb"),
            );
            for number in 0..30 {
                let path = match number % 5 {
                    0 => format!("/usr/share/doc/{package}/changelog.{number}.gz"),
                    1 => format!("/usr/lib/x86_64-linux-gnu/lib{package}{number}.so.1"),
                    2 => format!("/usr/bin/{package}-tool{number}"),
                    3 => format!("/usr/share/man/man1/{package}{number}.1.gz"),
                    _ => format!("/usr/lib/python3/dist-packages/{package}/module{number}.py"),
                };
                self.replaces(dpkg, &path, &format!("{path}.dpkg-new"));
            }
            self.replaces(
                dpkg,
                &format!("/var/lib/dpkg/info/{package}.list"),
                &format!("/var/lib/dpkg/info/{package}.list-new"),
            );
            let script = format!("/bin/sh /var/lib/dpkg/info/{package}.postinst configure 1.1");
            let postinst = self.run(dpkg, 0, "/usr/bin/dash", &script);
            self.creates(postinst, format!("/etc/{package}.conf"));
            self.run(
                postinst,
                0,
                "/usr/bin/systemctl",
                &format!("systemctl --system daemon-reload {package}"),
            );
            let ldconfig = self.run(postinst, 0, "/usr/sbin/ldconfig", "ldconfig");
            self.replaces(ldconfig, "/etc/ld.so.cache", "/etc/ld.so.cache~");
        }
        self.replaces(dpkg, "/var/lib/dpkg/status", "/var/lib/dpkg/status-new");
        let initramfs = self.run(dpkg, 0, "/usr/bin/dash", "/bin/sh /usr/sbin/update-initramfs -u");
        for number in 0..12 {
            let cp = self.run(
                initramfs,
                0,
                "/usr/bin/cp",
                &format!(
                    "cp -pP /usr/lib/modules/m{number}.ko /var/tmp/mkinitramfs_x/usr/lib/modules/m{number}.ko"
                ),
            );
            self.creates(cp, format!("/var/tmp/mkinitramfs_x/usr/lib/modules/m{number}.ko"));
        }
    }

    fn compilation(&mut self, init: usize) {
        let shell = self.run(init, 1000, "/usr/bin/bash", "-bash");
        let make = self.run(shell, 1000, "/usr/bin/make", "make -j4 all");
        for number in 0..20 {
            let sh = self.run(
                make,
                1000,
                "/usr/bin/dash",
                &format!("/bin/sh -c gcc -O2 -Wall -c -o build/part{number}.o src/part{number}.c"),
            );
            let gcc = self.run(
                sh,
                1000,
                "/usr/bin/x86_64-linux-gnu-gcc-12",
                &format!("gcc -O2 -Wall -c -o build/part{number}.o src/part{number}.c"),
            );
            let cc1 = self.run(gcc, 1000, "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", &format!("/usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet -imultiarch x86_64-linux-gnu src/part{number}.c -O2 -Wall -o /tmp/cc{number}.s"));
            self.creates(cc1, format!("/tmp/cc{number}.s"));
            let assembler = self.run(
                gcc,
                1000,
                "/usr/bin/x86_64-linux-gnu-as",
                &format!("as --64 -o build/part{number}.o /tmp/cc{number}.s"),
            );
            self.creates(assembler, format!("/home/alice/project/build/part{number}.o"));
        }
        let cargo = self.run(shell, 1000, "/home/alice/.cargo/bin/cargo", "cargo build --release");
        for number in 0..8 {
            let rustc = self.run(cargo, 1000, "/home/alice/.rustup/toolchains/stable/bin/rustc", &format!("rustc --crate-name part{number} --edition=2024 src/lib.rs --error-format=json --crate-type lib -C opt-level=3 -C metadata=0123456789abcdef"));
            for object in 0..10 {
                self.creates(rustc, format!("/home/alice/project/target/release/deps/part{number}-0123456789abcdef.part{number}.{object:02x}-cgu.0.rcgu.o"));
            }
        }
    }

    fn cron(&mut self, init: usize) {
        let cron = self.run(init, 0, "/usr/sbin/cron", "/usr/sbin/cron -f");
        let child =
            self.run(cron, 0, "/usr/bin/dash", "/bin/sh -c cd / && run-parts --report /etc/cron.hourly");
        self.run(child, 0, "/usr/bin/run-parts", "run-parts --report /etc/cron.hourly");
        let rotate = self.run(init, 0, "/usr/sbin/logrotate", "/usr/sbin/logrotate /etc/logrotate.conf");
        for log in ["syslog", "auth.log", "dpkg.log", "nginx/access.log", "nginx/error.log"] {
            self.runs[rotate].files.push((format!("/var/log/{log}.1"), Some(format!("/var/log/{log}"))));
            self.creates(rotate, format!("/var/log/{log}"));
            let gzip = self.run(rotate, 0, "/usr/bin/gzip", "/bin/gzip");
            self.creates(gzip, format!("/var/log/{log}.2.gz"));
        }
        self.replaces(rotate, "/var/lib/logrotate/status", "/var/lib/logrotate/status.tmp");
        let journal = self.run(init, 0, "/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald");
        for number in 0..6 {
            self.creates(journal, format!("/run/systemd/journal/streams/.#9:{number}abcdef"));
        }
        let index = self.run(init, 0, "/usr/bin/mandb", "/usr/bin/mandb --quiet");
        self.replaces(index, "/var/cache/man/index.db", "/var/cache/man/1234");
    }

    fn web(&mut self, init: usize) {
        let nginx = self.run(init, 0, "/usr/sbin/nginx", "nginx: worker process");
        for number in 0..20 {
            self.creates(
                nginx,
                format!("/var/lib/nginx/proxy/{}/{number:02}/00000000{number:02}", number % 10),
            );
        }
        let php = self.run(init, 0, "/usr/sbin/php-fpm8.2", "php-fpm: pool www");
        for number in 0..15 {
            self.creates(php, format!("/var/lib/php/sessions/sess_{number:026x}"));
        }
        let postgres =
            self.run(init, 0, "/usr/lib/postgresql/15/bin/postgres", "postgres: 15/main: checkpointer");
        for number in 0..15 {
            self.replaces(
                postgres,
                &format!("/var/lib/postgresql/15/main/pg_wal/00000001000000000000{number:04X}"),
                &format!("/var/lib/postgresql/15/main/pg_wal/xlogtemp.{number}"),
            );
        }
        let redis = self.run(init, 0, "/usr/bin/redis-server", "/usr/bin/redis-server 127.0.0.1:6379");
        self.replaces(redis, "/var/lib/redis/dump.rdb", "/var/lib/redis/temp-812.rdb");
    }

    fn shell(&mut self, init: usize) {
        let sshd = self.run(init, 0, "/usr/sbin/sshd", "sshd: alice [priv]");
        let bash = self.run(sshd, 1000, "/usr/bin/bash", "-bash");
        for (executable, command) in [
            ("/usr/bin/ls", "ls --color=auto -la"),
            ("/usr/bin/id", "id -u"),
            ("/usr/bin/grep", "grep -rn unsafe src"),
            ("/usr/bin/git", "git status --short"),
            ("/usr/bin/git", "git log --oneline -n 20"),
            ("/usr/bin/less", "less README.md"),
            ("/usr/bin/df", "df -h"),
            ("/usr/bin/ps", "ps aux"),
            ("/usr/bin/cat", "cat /etc/os-release"),
            ("/usr/bin/tail", "tail -n 100 /var/log/syslog"),
            ("/usr/bin/curl", "curl -sS https://example.org/status"),
            ("/usr/bin/sudo", "sudo systemctl restart nginx"),
            ("/usr/bin/systemctl", "systemctl restart nginx"),
            ("/usr/bin/find", "find . -name *.rs -newer Cargo.toml"),
            ("/usr/bin/sed", "sed -n 1,20p notes.txt"),
            ("/usr/bin/awk", "awk {print} notes.txt"),
        ] {
            self.run(bash, 1000, executable, command);
        }
        let vim = self.run(bash, 1000, "/usr/bin/vim.basic", "vim notes.txt");
        self.creates(vim, "/home/alice/.notes.txt.swp");
        self.replaces(vim, "/home/alice/notes.txt", "/home/alice/4913");
        let git = self.run(bash, 1000, "/usr/bin/git", "git commit -m wip");
        for number in 0..12 {
            let object = format!("/home/alice/project/.git/objects/{number:02x}/{:038x}", number * 7919);
            self.replaces(
                git,
                &object,
                &format!("/home/alice/project/.git/objects/{number:02x}/tmp_obj_x{number}"),
            );
        }
        self.replaces(git, "/home/alice/project/.git/index", "/home/alice/project/.git/index.lock");
        let pip = self.run(bash, 1000, "/usr/bin/python3.11", "python3 -m pip install requests");
        for number in 0..25 {
            self.creates(
                pip,
                format!("/home/alice/venv/lib/python3.11/site-packages/requests/module{number}.py"),
            );
            self.creates(pip, format!("/home/alice/venv/lib/python3.11/site-packages/requests/__pycache__/module{number}.cpython-311.pyc"));
        }
    }

    fn containers(&mut self, init: usize) {
        let containerd = self.run(init, 0, "/usr/bin/containerd", "/usr/bin/containerd");
        let shim = self.run(containerd, 0, "/usr/bin/containerd-shim-runc-v2", "/usr/bin/containerd-shim-runc-v2 -namespace moby -id 0123456789abcdef -address /run/containerd/containerd.sock");
        let runc = self.run(shim, 0, "/usr/bin/runc", "runc --root /var/run/docker/runtime-runc/moby --log /run/log.json create --bundle /run/bundle 0123456789abcdef");
        self.creates(runc, "/run/containerd/io.containerd.runtime.v2.task/moby/0123456789abcdef/init.pid");
        let node = self.run(shim, 0, "/usr/local/bin/node", "node /app/server.js");
        for number in 0..10 {
            self.creates(node, format!("/app/.cache/webpack/{number}.pack"));
        }
    }

    /// The file events, process after process.
    pub fn file_events(&self) -> Vec<Case<'_>> {
        let mut cases = Vec::new();
        for (number, run) in self.runs.iter().enumerate() {
            for (path, original) in &run.files {
                let action = if original.is_some() { Action::Rename } else { Action::Creation };
                let mut event = self.event(run, action, cases.len());
                event.file = Some(FileFields {
                    original: original.as_ref().map(|path| PathView::new(path.as_bytes())),
                    inode: Some(Digits::decimal(1_000_000 + cases.len() as u64)),
                    mode: Some(Digits::mode(0o100_644)),
                    uid: Some(Digits::decimal(0)),
                    gid: Some(Digits::decimal(0)),
                    owner: Some(b"root"),
                    group: Some(b"root"),
                    size: Some(0),
                    file_type: Some(FileType::File),
                    ..FileFields::new(path.as_bytes())
                });
                cases.push(Case { event, process: number as u64 });
            }
        }
        cases
    }

    /// An exec event for each process.
    pub fn exec_events(&self) -> Vec<Case<'_>> {
        let runs = self.runs.iter().enumerate();
        runs.map(|(number, run)| Case {
            event: self.event(run, Action::Exec, number),
            process: number as u64,
        })
        .collect()
    }

    fn event<'w>(&'w self, run: &'w Run, action: Action, number: usize) -> Event<'w> {
        let parent = &self.runs[run.parent];
        let sequence = number as u64;
        Event {
            meta: EventMeta {
                id: EventId::new([7; 10], sequence),
                sequence,
                time_ns: 1_700_000_000_000_000_000,
                action,
                outcome: Some(Outcome::Success),
                integration: Integration::Endpoint,
            },
            host: &self.host,
            agent: &self.agent,
            file: None,
            process: Some(ProcessView {
                parent: Some(&parent.process),
                group_leader: Some(&parent.process),
                session_leader: Some(&parent.process),
                entry_leader: Some(&self.runs[0].process),
                ancestry: &self.ancestry,
                ..ProcessView::new(&run.process)
            }),
            actor: None,
        }
    }

    /// The mix, in words.
    pub fn mix(&self) -> String {
        let mut by_name: Vec<(String, usize, usize)> = Vec::new();
        for run in &self.runs {
            let name = run.process.image.executable.as_ref().and_then(|e| e.name()).unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            let known = by_name.iter_mut().find(|(known, ..)| *known == name);
            match known {
                Some((_, runs, files)) => {
                    *runs += 1;
                    *files += run.files.len();
                }
                None => by_name.push((name, 1, run.files.len())),
            }
        }
        by_name.sort_by_key(|(_, runs, files)| std::cmp::Reverse((*files, *runs)));
        let files: usize = by_name.iter().map(|(.., files)| files).sum();
        let acting = self.runs.iter().filter(|run| !run.files.is_empty()).count();
        let shown: Vec<String> =
            by_name.iter().map(|(name, runs, files)| format!("{name} {runs}/{files}")).collect();
        format!(
            "{files} file events of {acting} processes, {} exec events; program, runs/files: {}",
            self.runs.len(),
            shown.join(", ")
        )
    }
}
