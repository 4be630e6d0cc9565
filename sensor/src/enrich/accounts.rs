//! Credentials with names, shared by the processes that have the same.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sensor_ecs::{Account, Credentials, Digits, Scalar, Text, capabilities};

use super::names::Names;
use super::table::Ids;

/// Combinations that are kept; most hosts have a few dozen.
const CREDENTIALS_MAX: usize = 512;

/// Effective and permitted capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CapabilitySets {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
}

/// Who is who on this host.
#[derive(Debug)]
pub(crate) struct Accounts {
    names: Names,
    /// By ids and capabilities; those that differ in their groups alone are told apart one by one.
    known: HashMap<(Ids, Option<CapabilitySets>), Vec<Shared>>,
    kept: usize,
}

/// Credentials with these supplementary groups.
#[derive(Debug)]
struct Shared {
    groups: Box<[u32]>,
    credentials: Arc<Credentials>,
}

impl Accounts {
    /// `root` is `/` except in tests.
    pub(crate) fn read(root: &Path) -> Self {
        Self { names: Names::read(root), known: HashMap::new(), kept: 0 }
    }

    /// Follows changes of the files.
    pub(crate) fn refresh(&mut self) {
        if self.names.refresh() {
            self.known.clear();
            self.kept = 0;
        }
    }

    pub(crate) fn user(&self, uid: u32) -> Option<&[u8]> {
        self.names.user(uid)
    }

    pub(crate) fn group(&self, gid: u32) -> Option<&[u8]> {
        self.names.group(gid)
    }

    /// The credentials of a process. Capabilities that are not known are absent, not empty.
    pub(crate) fn credentials(
        &mut self,
        ids: Ids,
        capabilities: Option<CapabilitySets>,
        groups: &[u32],
    ) -> Arc<Credentials> {
        let key = (ids, capabilities);
        let known = self.known.get(&key).into_iter().flatten().find(|shared| *shared.groups == *groups);
        if let Some(known) = known {
            return Arc::clone(&known.credentials);
        }
        let made = Arc::new(self.make(ids, capabilities, groups));
        if self.kept >= CREDENTIALS_MAX {
            self.known.clear();
            self.kept = 0;
        }
        self.kept += 1;
        let shared = Shared { groups: groups.into(), credentials: Arc::clone(&made) };
        self.known.entry(key).or_default().push(shared);
        made
    }

    fn make(&self, ids: Ids, sets: Option<CapabilitySets>, groups: &[u32]) -> Credentials {
        let user = |uid| Account { id: Some(id_text(uid)), name: self.names.user(uid).map(Text::from) };
        let group = |gid| Account { id: Some(id_text(gid)), name: self.names.group(gid).map(Text::from) };
        let keyword = |text: &[u8]| Scalar::Keyword(text.to_vec().into());
        Credentials {
            user: user(ids.euid),
            group: group(ids.egid),
            real_user: user(ids.uid),
            real_group: group(ids.gid),
            saved_user: user(ids.suid),
            saved_group: group(ids.sgid),
            supplemental_group_ids: groups.iter().map(|&gid| keyword(&id_text(gid))).collect(),
            supplemental_group_names: groups
                .iter()
                .filter_map(|&gid| self.names.group(gid))
                .map(keyword)
                .collect(),
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

    #[test]
    fn equal_credentials_are_shared() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), "alice:x:1000:1000::/:/bin/sh\n").unwrap();
        let mut accounts = Accounts::read(root.path());
        let ids = Ids { uid: 1000, gid: 1000, euid: 0, egid: 1000, suid: 0, sgid: 1000 };
        let first = accounts.credentials(ids, None, &[]);
        assert!(Arc::ptr_eq(&first, &accounts.credentials(ids, None, &[])));
        assert_eq!(first.real_user.name.as_deref(), Some(b"alice".as_slice()));
        assert_eq!(first.user.id.as_deref(), Some(b"0".as_slice()));
        assert_eq!(first.user.name, None);
        let sets = CapabilitySets { effective: 1, permitted: 3 };
        let able = accounts.credentials(ids, Some(sets), &[27]);
        assert_eq!(able.capabilities_effective, [Scalar::keyword("CAP_CHOWN")]);
        assert_eq!(able.supplemental_group_ids, [Scalar::keyword("27")]);
    }
}
