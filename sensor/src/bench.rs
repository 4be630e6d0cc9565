//! What `cargo xtask bench enrich` measures: records as the kernel sends them, to events, to documents.

use std::io;
use std::path::Path;

use sensor_ecs::{Agent, write_json};

use crate::decode::decode;
use crate::decode::synth::{self, ExecSpec};
use crate::enrich::{Enricher, HASHED_BYTES_DEFAULT, Sources, TABLE_BYTES_MAX};

const SECOND: u64 = 1_000_000_000;
/// The process whose file events are measured.
const ACTOR: u32 = 1000;

/// The records' files are on the first of the mounts.
const HOST: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n",
    ),
    ("etc/group", "root:x:0:\ndaemon:x:1:\nadm:x:4:alice\nalice:x:1000:\n"),
    (
        "proc/1/mountinfo",
        "30 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n31 30 0:40 / /tmp rw - tmpfs tmpfs rw\n",
    ),
];

/// An enricher with records to feed it.
pub struct Enriching {
    enricher: Enricher,
    file: Vec<u8>,
    execs: Vec<Vec<u8>>,
    next: usize,
}

impl Enriching {
    /// With so many processes, each of which has an exec to come. Below `root` are the accounts and the mounts of a
    /// small host, and none of its programs and files, so nothing is hashed.
    ///
    /// # Errors
    ///
    /// When the kernel has no random bytes.
    pub fn new(root: &Path, processes: u32) -> io::Result<Self> {
        let sources = Sources {
            root: root.into(),
            proc_root: root.join("proc"),
            hashed_file_bytes_max: HASHED_BYTES_DEFAULT,
            ..Sources::default()
        };
        for (file, text) in HOST {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(root))?;
            std::fs::write(path, text)?;
        }
        let agent = Agent {
            id: b"00000000-0000-4000-8000-000000000000".as_slice().into(),
            version: b"0".as_slice().into(),
            namespace: b"default".as_slice().into(),
        };
        let enricher = Enricher::new(&sources, agent.into(), TABLE_BYTES_MAX)?;
        let actor = synth::after_exec(&synth::task(ACTOR, SECOND), 7);
        // Within a directory, as most are.
        let path = "/etc/apt/apt.conf.d/01autoremove";
        let file = synth::rename_beside(&actor, 3 * SECOND, "01autoremove.dpkg-new", path, "/");
        let mut all = Self { enricher, file, execs: Vec::new(), next: 0 };
        let spec = ExecSpec {
            exe: "/usr/bin/x86_64-linux-gnu-gcc-14",
            argv: &["gcc", "-O2", "-Wall", "-Iinclude", "-DNDEBUG", "-c", "src/main.c", "-o", "build/main.o"],
            cwd: "/home/alice/project",
            ..ExecSpec::default()
        };
        all.take(&synth::exec(&actor, 2 * SECOND, &ExecSpec { exe: "/usr/bin/dpkg", ..spec }));
        for pid in ACTOR + 1..=ACTOR + processes {
            let child = synth::child_of(&actor, pid, 2 * SECOND + u64::from(pid) * 20_000_000);
            all.take(&synth::fork(&actor, &child, child.start_boottime_ns));
            let after = synth::after_exec(&child, u64::from(pid));
            all.execs.push(synth::exec(&after, child.start_boottime_ns + 1, &spec));
        }
        Ok(all)
    }

    /// A rename by a known process; whether it became an event.
    pub fn file_event(&mut self) -> bool {
        decode(&self.file).as_ref().is_ok_and(|wire| self.enricher.event(wire).is_some())
    }

    /// The next process's exec; whether it became an event.
    pub fn exec_record(&mut self) -> bool {
        let record = self.execs.get(self.next).map(Vec::as_slice).unwrap_or_default();
        self.next += 1;
        decode(record).as_ref().is_ok_and(|wire| self.enricher.event(wire).is_some())
    }

    /// Appends the document of the next process's exec, so many times.
    pub fn exec_documents(&mut self, times: usize, out: &mut Vec<u8>, mut each: impl FnMut(&mut Vec<u8>)) {
        let record = self.execs.get(self.next).map(Vec::as_slice).unwrap_or_default();
        self.next += 1;
        let Ok(wire) = decode(record) else { return };
        let Some(enriched) = self.enricher.event(&wire) else { return };
        for _ in 0..times {
            write_json(&enriched.event, out);
            each(out);
        }
    }

    fn take(&mut self, record: &[u8]) {
        if let Ok(wire) = decode(record) {
            self.enricher.event(&wire);
        }
    }
}
