//! Attaches the programs that cost least to the hooks that the sensor uses, and stays.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::maps::RingBuf;
use aya::programs::{BtfTracePoint, FEntry, FExit};
use aya::{Btf, Ebpf};

/// Where the bench puts the object.
const OBJECT: &str = "/usr/share/sensor-bench/floor.o";
/// Between two looks at the ring, into which nobody calls us.
const POLL: Duration = Duration::from_millis(10);
/// Where a record is sent: where the sensor sends one.
const SENDING: [(&str, &str); 3] =
    [("security_d_instantiate", "fentry"), ("vfs_rename", "fexit"), ("sched_process_exec", "tp_btf")];

/// Attaches to `hooks`, each `TARGET MODE`; never returns but with an error.
pub(crate) fn run(with_records: bool, hooks: &[(String, String)]) -> Result<()> {
    let btf = Btf::from_sys_fs().context("no BTF")?;
    let object = fs::read(OBJECT).with_context(|| OBJECT)?;
    let mut sending = Ebpf::load(&object).context("the object cannot be loaded")?;
    let mut attached = Vec::new();
    for (target, mode) in hooks {
        let sends = with_records && SENDING.contains(&(target.as_str(), mode.as_str()));
        if sends {
            attach(&mut sending, &format!("record_{mode}"), target, mode, &btf)?;
        } else {
            // A program has one place to be: the next one comes from the object anew.
            let mut empty = Ebpf::load(&object)?;
            attach(&mut empty, &format!("empty_{mode}"), target, mode, &btf)?;
            attached.push(empty);
        }
    }
    drop(btf);
    println!("ready");
    let mut ring = RingBuf::try_from(sending.take_map("RING").context("no ring")?)?;
    loop {
        thread::sleep(if with_records { POLL } else { Duration::from_secs(3600) });
        while let Some(record) = ring.next() {
            std::hint::black_box(&*record);
        }
    }
}

fn attach(ebpf: &mut Ebpf, name: &str, target: &str, mode: &str, btf: &Btf) -> Result<()> {
    let program = ebpf.program_mut(name).with_context(|| format!("no program {name}"))?;
    let context = || format!("{mode} {target}");
    match mode {
        "fentry" => {
            let program: &mut FEntry = program.try_into()?;
            program.load(target, btf).with_context(context)?;
            program.attach().with_context(context)?;
        }
        "fexit" => {
            let program: &mut FExit = program.try_into()?;
            program.load(target, btf).with_context(context)?;
            program.attach().with_context(context)?;
        }
        "tp_btf" => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(target, btf).with_context(context)?;
            program.attach().with_context(context)?;
        }
        other => bail!("hooks of mode {other} have no floor"),
    }
    Ok(())
}
