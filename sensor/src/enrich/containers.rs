//! Containers by cgroup: one description shared by all processes of a container.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use foldhash::fast::RandomState;
use sensor_ecs::{Container, Pod, Scalar};

use super::container;
use super::lookup::Lookup;
use super::runtimes::{self, Details, Which};

/// cgroups that are remembered.
const CGROUPS_MAX: usize = 4096;

/// A control group that was met.
#[derive(Debug)]
struct Cgroup {
    path: Box<[u8]>,
    container: Option<Arc<Container>>,
}

/// What is known of cgroups, by the kernel's id.
#[derive(Debug)]
pub(crate) struct Containers {
    by_cgroup: HashMap<u64, Cgroup, RandomState>,
    /// Asked once for each container; runtimes write before they start what they describe.
    details: Lookup<Which, Details>,
}

impl Containers {
    /// With the files of runtimes below this root.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { by_cgroup: HashMap::default(), details: Lookup::new(root, runtimes::read) }
    }

    /// The container of a cgroup whose path is at hand.
    pub(crate) fn learn(&mut self, cgroup_id: u64, path: &[u8]) -> Option<Arc<Container>> {
        let known = self.by_cgroup.get(&cgroup_id);
        if let Some(known) = known.filter(|known| *known.path == *path) {
            return known.container.clone();
        }
        // Ids are not reused while the host runs, but a cgroup can be renamed on some kernels.
        let found = container::Container::from_cgroup(path);
        let same = known.map(|known| known.container.clone()).filter(|known| {
            known.as_ref().map(|known| &*known.id) == found.as_ref().map(|found| found.id.as_slice())
        });
        let made = same.unwrap_or_else(|| self.describe(path).map(Arc::new));
        if cgroup_id != 0 {
            if self.by_cgroup.len() >= CGROUPS_MAX {
                self.by_cgroup.clear();
            }
            self.by_cgroup.insert(cgroup_id, Cgroup { path: path.into(), container: made.clone() });
        }
        made
    }

    /// The container of a cgroup that was seen before; `None` when it was not.
    pub(crate) fn known(&self, cgroup_id: u64) -> Option<Option<Arc<Container>>> {
        self.by_cgroup.get(&cgroup_id).map(|known| known.container.clone())
    }

    fn describe(&mut self, path: &[u8]) -> Option<Container> {
        let found = container::Container::from_cgroup(path)?;
        let runtime = found.runtime.map(container::Runtime::name);
        let id = String::from_utf8(found.id.clone()).ok();
        let which = id.map(|id| Which { id, runtime, user: found.user });
        let details = which.and_then(|which| self.details.read(&which)).unwrap_or_default();
        let list = |text: Option<String>| {
            text.into_iter().map(|text| Scalar::Keyword(text.into_bytes().into())).collect()
        };
        let pod_name = details.pod_name.map(|name| name.into_bytes().into());
        let namespace = details.pod_namespace.map(|name| name.into_bytes().into());
        Some(Container {
            id: found.id.into(),
            runtime,
            name: details.name.map(|name| name.into_bytes().into()),
            image_name: details.image_name.map(|name| name.into_bytes().into()),
            image_tags: list(details.image_tag),
            image_hashes: list(details.image_hash),
            pod: found.pod_uid.map(|uid| Pod { uid: uid.into(), name: pod_name, namespace }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5694f82f44168cc048e014ae14d1b0c8ef673bec49f329dc169911ea638f63c2";

    #[test]
    fn processes_of_a_container_share_its_description() {
        let mut containers = Containers::new("/nonexistent".into());
        let path = format!("/docker/{ID}");
        let first = containers.learn(7, path.as_bytes()).unwrap();
        assert!(Arc::ptr_eq(&first, &containers.learn(7, path.as_bytes()).unwrap()));
        assert!(Arc::ptr_eq(&first, &containers.known(7).unwrap().unwrap()));
        assert_eq!(&*first.id, ID.as_bytes());
        // Under another name it is what it was; under that of another container it is that one.
        let inside = format!("/docker/{ID}/inside");
        assert!(Arc::ptr_eq(&first, &containers.learn(7, inside.as_bytes()).unwrap()));
        let other = ID.replace('5', "6");
        let moved = containers.learn(7, format!("/docker/{other}").as_bytes()).unwrap();
        assert_eq!(&*moved.id, other.as_bytes());
        assert_eq!(&*containers.learn(7, path.as_bytes()).unwrap().id, ID.as_bytes());
        let first = containers.learn(7, path.as_bytes()).unwrap();
        assert!(Arc::ptr_eq(&first, &containers.known(7).unwrap().unwrap()));
        assert!(containers.learn(8, b"/init.scope").is_none());
        assert!(containers.known(8).unwrap().is_none());
        assert!(containers.known(9).is_none());
    }
}
