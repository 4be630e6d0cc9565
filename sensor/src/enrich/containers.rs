//! Containers by cgroup: one description shared by all processes of a container.

use std::collections::HashMap;
use std::sync::Arc;

use sensor_ecs::{Container, Pod};

use super::container;

/// cgroups that are remembered.
const CGROUPS_MAX: usize = 4096;

/// What is known of cgroups, by the kernel's id.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    by_cgroup: HashMap<u64, Option<Arc<Container>>>,
}

impl Containers {
    /// The container of a cgroup whose path is at hand.
    pub(crate) fn learn(&mut self, cgroup_id: u64, path: &[u8]) -> Option<Arc<Container>> {
        if let Some(known) = self.by_cgroup.get(&cgroup_id) {
            let found = container::Container::from_cgroup(path);
            // Ids are not reused while the host runs, but a cgroup can be renamed on some kernels.
            if known.as_ref().map(|known| &*known.id) == found.as_ref().map(|found| found.id.as_slice()) {
                return known.clone();
            }
        }
        let made = describe(path).map(Arc::new);
        if cgroup_id != 0 {
            if self.by_cgroup.len() >= CGROUPS_MAX {
                self.by_cgroup.clear();
            }
            self.by_cgroup.insert(cgroup_id, made.clone());
        }
        made
    }

    /// The container of a cgroup that was seen before; `None` when it was not.
    pub(crate) fn known(&self, cgroup_id: u64) -> Option<Option<Arc<Container>>> {
        self.by_cgroup.get(&cgroup_id).cloned()
    }
}

fn describe(path: &[u8]) -> Option<Container> {
    let found = container::Container::from_cgroup(path)?;
    Some(Container {
        id: found.id.into(),
        runtime: found.runtime.map(container::Runtime::name),
        name: None,
        image_name: None,
        image_tags: Vec::new(),
        image_hashes: Vec::new(),
        pod: found.pod_uid.map(|uid| Pod { uid: uid.into(), ..Pod::default() }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5694f82f44168cc048e014ae14d1b0c8ef673bec49f329dc169911ea638f63c2";

    #[test]
    fn processes_of_a_container_share_its_description() {
        let mut containers = Containers::default();
        let path = format!("/docker/{ID}");
        let first = containers.learn(7, path.as_bytes()).unwrap();
        assert!(Arc::ptr_eq(&first, &containers.learn(7, path.as_bytes()).unwrap()));
        assert!(Arc::ptr_eq(&first, &containers.known(7).unwrap().unwrap()));
        assert_eq!(&*first.id, ID.as_bytes());
        assert!(containers.learn(8, b"/init.scope").is_none());
        assert!(containers.known(8).unwrap().is_none());
        assert!(containers.known(9).is_none());
    }
}
