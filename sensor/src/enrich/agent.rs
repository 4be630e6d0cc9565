//! The sensor's identity: a UUID made on the first start and kept.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sensor_ecs::Agent;

const ID_FILE: &str = "agent-id";

/// The agent as documents name it. An id that cannot be kept is used for this run, with a warning.
pub(crate) fn load(state_dir: &Path, namespace: &str) -> io::Result<Agent> {
    let id = match kept_id(state_dir) {
        Ok(id) => id,
        Err(error) => {
            let id = new_id()?;
            tracing::warn!(
                "the agent id cannot be kept in {}: {error}; this run uses {id}",
                state_dir.display()
            );
            id
        }
    };
    Ok(Agent {
        id: id.as_bytes().into(),
        version: env!("CARGO_PKG_VERSION").as_bytes().into(),
        namespace: namespace.as_bytes().into(),
    })
}

/// Random bytes from the kernel.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn kept_id(state_dir: &Path) -> io::Result<String> {
    let path = state_dir.join(ID_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if is_uuid(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => tracing::warn!("{} does not hold a UUID and is replaced", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = new_id()?;
    fs::create_dir_all(state_dir)?;
    // Renamed into place, so that a crash leaves either no id or a whole one.
    let fresh = state_dir.join(format!("{ID_FILE}.{}", std::process::id()));
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(&fresh)?;
    file.write_all(id.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    Ok(id)
}

fn new_id() -> io::Result<String> {
    let random = u128::from_be_bytes(random()?);
    // Version 4, variant 10, as RFC 9562 places them.
    let bits = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = load(&state, "default").unwrap();
        let text = String::from_utf8(first.id.to_vec()).unwrap();
        assert!(is_uuid(&text) && text.as_bytes()[14] == b'4', "{text}");
        assert_eq!(load(&state, "default").unwrap().id, first.id);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_replaced_and_an_unwritable_place_is_survived() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(ID_FILE), "not an id").unwrap();
        let id = load(dir.path(), "default").unwrap().id;
        assert!(is_uuid(std::str::from_utf8(&id).unwrap()));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_ne!(load(&file, "default").unwrap().id, load(&file, "default").unwrap().id);
    }
}
