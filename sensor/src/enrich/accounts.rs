//! Credentials with names, shared by the processes that have the same.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use sensor_ecs::{Account, Container, Credentials, Digits, Scalar, Text, capabilities};

use super::inside::{self, Inside, Root};
use super::lookup::Lookup;
use super::names::Names;
use super::table::Ids;

/// Combinations that are kept; most hosts have a few dozen.
const CREDENTIALS_MAX: usize = 512;

/// Containers whose names are kept.
const CONTAINERS_MAX: usize = 1024;
/// After so long a container's files are looked at again when one of its processes is.
const FRESH: Duration = Duration::from_secs(60);

/// Effective and permitted capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CapabilitySets {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
}

/// A process whose ids are to be named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) pid: u32,
    pub(crate) container: Option<&'a Arc<Container>>,
}

/// Who gave the names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum By {
    Host,
    Container(Text),
    Nobody,
}

/// Who is who on this host, and in its containers.
#[derive(Debug)]
pub(crate) struct Accounts {
    names: Names,
    containers: HashMap<Text, (Inside, Instant)>,
    lookup: Lookup<u32, Root>,
    /// By ids and capabilities; those that differ in their groups alone are told apart one by one.
    known: HashMap<(By, Ids, Option<CapabilitySets>), Vec<Shared>, RandomState>,
    kept: usize,
}

/// Credentials with these supplementary groups.
#[derive(Debug)]
struct Shared {
    groups: Box<[u32]>,
    credentials: Arc<Credentials>,
}

impl Accounts {
    /// Of the host with this root directory.
    pub(crate) fn read(root: &Path, proc_root: PathBuf) -> Self {
        Self {
            names: Names::read(root),
            containers: HashMap::new(),
            lookup: Lookup::new(proc_root, |proc_root, pid| inside::read(proc_root, *pid)),
            known: HashMap::default(),
            kept: 0,
        }
    }

    /// Follows changes of the files.
    pub(crate) fn refresh(&mut self) {
        if self.names.refresh() {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.known.clear();
        self.kept = 0;
    }

    /// A user's name, as the host or a container that was met has it.
    pub(crate) fn user(&self, container: Option<&Arc<Container>>, uid: u32) -> Option<&[u8]> {
        match container {
            None => self.names.user(uid),
            Some(container) => self.containers.get(&container.id)?.0.user(uid),
        }
    }

    pub(crate) fn group(&self, container: Option<&Arc<Container>>, gid: u32) -> Option<&[u8]> {
        match container {
            None => self.names.group(gid),
            Some(container) => self.containers.get(&container.id)?.0.group(gid),
        }
    }

    /// Whose names the ids of a process have.
    fn by(&mut self, of: Of<'_>) -> By {
        let Some(container) = of.container else { return By::Host };
        let now = Instant::now();
        let met = self.containers.get(&container.id);
        if met.is_none_or(|(_, since)| now.saturating_duration_since(*since) > FRESH) {
            match self.lookup.read(&of.pid) {
                Some(Root::OfHost) => return By::Host,
                Some(Root::OfContainer(inside)) => {
                    if self.containers.get(&container.id).is_some_and(|(old, _)| *old != inside) {
                        self.forget();
                    }
                    if self.containers.len() >= CONTAINERS_MAX {
                        self.containers.clear();
                    }
                    self.containers.insert(Arc::clone(&container.id), (inside, now));
                }
                None if met.is_none() => return By::Nobody,
                None => {}
            }
        }
        By::Container(Arc::clone(&container.id))
    }

    /// The credentials of a process. Capabilities that are not known are absent, not empty.
    pub(crate) fn credentials(
        &mut self,
        of: Of<'_>,
        ids: Ids,
        capabilities: Option<CapabilitySets>,
        groups: &[u32],
    ) -> Arc<Credentials> {
        let by = self.by(of);
        let key = (by, ids, capabilities);
        let known = self.known.get(&key).into_iter().flatten().find(|shared| *shared.groups == *groups);
        if let Some(known) = known {
            return Arc::clone(&known.credentials);
        }
        let made = Arc::new(self.make(&key.0, ids, capabilities, groups));
        if self.kept >= CREDENTIALS_MAX {
            self.forget();
        }
        self.kept += 1;
        let shared = Shared { groups: groups.into(), credentials: Arc::clone(&made) };
        self.known.entry(key).or_default().push(shared);
        made
    }

    fn make(&self, by: &By, ids: Ids, sets: Option<CapabilitySets>, groups: &[u32]) -> Credentials {
        let inside = match by {
            By::Container(id) => self.containers.get(id).map(|(inside, _)| inside),
            By::Host | By::Nobody => None,
        };
        let user_name = |uid| match by {
            By::Host => self.names.user(uid),
            _ => inside?.user(uid),
        };
        let group_name = |gid| match by {
            By::Host => self.names.group(gid),
            _ => inside?.group(gid),
        };
        let user = |uid| Account { id: Some(id_text(uid)), name: user_name(uid).map(Text::from) };
        let group = |gid| Account { id: Some(id_text(gid)), name: group_name(gid).map(Text::from) };
        let keyword = |text: &[u8]| Scalar::Keyword(text.to_vec().into());
        Credentials {
            user: user(ids.euid),
            group: group(ids.egid),
            real_user: user(ids.uid),
            real_group: group(ids.gid),
            saved_user: user(ids.suid),
            saved_group: group(ids.sgid),
            supplemental_group_ids: groups.iter().map(|&gid| keyword(&id_text(gid))).collect(),
            supplemental_group_names: groups.iter().filter_map(|&gid| group_name(gid)).map(keyword).collect(),
            capabilities_effective: sets.map_or_else(Vec::new, |sets| capabilities(sets.effective)),
            capabilities_permitted: sets.map_or_else(Vec::new, |sets| capabilities(sets.permitted)),
        }
    }
}

/// Ids are keywords: 0 is the text "0".
fn id_text(id: u32) -> Text {
    Digits::decimal(u64::from(id)).as_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::inside::tests::{container_root, process_in};

    #[test]
    fn equal_credentials_are_shared() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), "alice:x:1000:1000::/:/bin/sh\n").unwrap();
        let mut accounts = Accounts::read(root.path(), root.path().join("proc"));
        let of = Of { pid: 7, container: None };
        let ids = Ids { uid: 1000, gid: 1000, euid: 0, egid: 1000, suid: 0, sgid: 1000 };
        let first = accounts.credentials(of, ids, None, &[]);
        assert!(Arc::ptr_eq(&first, &accounts.credentials(of, ids, None, &[])));
        assert_eq!(first.real_user.name.as_deref(), Some(b"alice".as_slice()));
        assert_eq!(first.user.id.as_deref(), Some(b"0".as_slice()));
        assert_eq!(first.user.name, None);
        let sets = CapabilitySets { effective: 1, permitted: 3 };
        let able = accounts.credentials(of, ids, Some(sets), &[27]);
        assert_eq!(able.capabilities_effective, [Scalar::keyword("CAP_CHOWN")]);
        assert_eq!(able.supplemental_group_ids, [Scalar::keyword("27")]);
    }

    #[test]
    fn a_containers_ids_have_its_own_names() {
        let host = container_root("root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n");
        let root = container_root("root:x:0:0::/:/bin/sh\nnode:x:1000:1000::/:/bin/sh\n");
        let proc = host.path().join("proc");
        process_in(&proc, 7, root.path(), "");
        process_in(&proc, 8, Path::new("/"), "");
        let mut accounts = Accounts::read(host.path(), proc);
        let container = Arc::new(Container {
            id: b"c".as_slice().into(),
            runtime: None,
            name: None,
            image_name: None,
            image_tags: Vec::new(),
            image_hashes: Vec::new(),
            pod: None,
        });
        let ids = Ids { uid: 1000, euid: 1000, ..Ids::default() };
        let mut name = |pid, container: Option<&Arc<Container>>| {
            let made = accounts.credentials(Of { pid, container }, ids, None, &[]);
            made.user.name.as_deref().map(|name| String::from_utf8_lossy(name).into_owned())
        };
        let inside = Some(&container);
        assert_eq!(name(7, None).as_deref(), Some("alice"));
        // A process that cannot be asked, of a container that was not met: no name is better than the host's.
        assert_eq!(name(9, inside), None);
        // The runtime, before it becomes the container.
        assert_eq!(name(8, inside).as_deref(), Some("alice"));
        assert_eq!(name(7, inside).as_deref(), Some("node"));
        // Known from then on, without being asked again.
        assert_eq!(name(9, inside).as_deref(), Some("node"));
        assert_eq!(accounts.user(inside, 1000), Some(b"node".as_slice()));
        assert_eq!(accounts.user(None, 1000), Some(b"alice".as_slice()));
    }
}
