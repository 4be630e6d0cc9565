//! Events for the tests: one complete example, and arbitrary ones with hostile text.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use sensor_ecs::{
    Account, Action, Agent, Arguments, Container, Credentials, Digits, EntryMeta, EntryType, Event, EventId,
    EventMeta, Executable, FileFields, FileType, Host, Image, Integration, Names, Operation, Outcome,
    PathView, Pod, Process, ProcessView, Scalar, Text, Tty, capabilities,
};

/// Everything that an event borrows.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) meta: EventMeta,
    pub(crate) host: Host,
    pub(crate) agent: Agent,
    pub(crate) file: Option<OwnedFile>,
    /// Process, parent, group leader, session leader, entry leader, parent of the entry leader.
    pub(crate) processes: [Option<Process>; 6],
    pub(crate) ancestry: Vec<Scalar>,
    pub(crate) previous: Option<Image>,
    pub(crate) actor: Option<Credentials>,
}

#[derive(Clone, Debug)]
pub(crate) struct OwnedFile {
    pub(crate) path: Vec<u8>,
    pub(crate) host_path: Option<Vec<u8>>,
    pub(crate) original: Option<Vec<u8>>,
    pub(crate) owner: Option<Vec<u8>>,
    pub(crate) target: Option<Vec<u8>>,
    pub(crate) incomplete: bool,
    pub(crate) numbers: Option<(u64, u32, u32, i64)>,
    pub(crate) entropy: Option<f64>,
}

impl World {
    pub(crate) fn event(&self) -> Event<'_> {
        let [process, parent, group_leader, session_leader, entry_leader, entry_leader_parent] =
            self.processes.each_ref().map(Option::as_ref);
        Event {
            meta: self.meta,
            host: &self.host,
            agent: &self.agent,
            file: self.file.as_ref().map(|file| FileFields {
                host: Names { path: file.host_path.as_deref(), original: file.original.as_deref() },
                file_system: Names { path: file.host_path.as_deref(), original: None },
                upper: Names { path: None, original: file.original.as_deref() },
                operation: file.numbers.map(|_| Operation::Tmpfile),
                linked_path: file.target.as_deref(),
                original: file.original.as_deref().map(PathView::new),
                path_incomplete: file.incomplete,
                outside_root: !file.incomplete,
                inode: file.numbers.map(|numbers| Digits::decimal(numbers.0)),
                mode: file.numbers.map(|numbers| Digits::mode(numbers.1)),
                uid: file.numbers.map(|numbers| Digits::decimal(u64::from(numbers.2))),
                gid: file.numbers.map(|numbers| Digits::decimal(u64::from(numbers.2))),
                owner: file.owner.as_deref(),
                group: file.owner.as_deref(),
                size: file.numbers.map(|numbers| numbers.0),
                mtime_ns: file.numbers.map(|numbers| numbers.3),
                ctime_ns: file.numbers.map(|numbers| numbers.3),
                file_type: file.numbers.and_then(|numbers| FileType::from_mode(numbers.1)),
                target_path: file.target.as_deref(),
                entropy: file.entropy,
                ..FileFields::new(&file.path)
            }),
            process: process.map(|process| ProcessView {
                executable: None,
                process,
                parent,
                group_leader,
                session_leader,
                entry_leader,
                entry_leader_parent,
                ancestry: &self.ancestry,
                previous: self.previous.as_ref(),
            }),
            actor: self.actor.as_ref(),
        }
    }
}

pub(crate) fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9/._ -]{0,8}".prop_map(String::into_bytes),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => any::<char>().prop_map(|character| character.to_string().into_bytes()),
        1 => (0xf770u32..0xf810).prop_map(|code| char::from_u32(code).unwrap_or('x').to_string().into_bytes()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn shared() -> impl Strategy<Value = Option<Text>> {
    prop::option::of(text().prop_map(Text::from))
}

fn list() -> impl Strategy<Value = Vec<Scalar>> {
    prop::collection::vec(text().prop_map(|bytes| Scalar::Keyword(Cow::Owned(bytes))), 0..4)
}

fn account() -> impl Strategy<Value = Account> {
    (shared(), shared()).prop_map(|(id, name)| Account { id, name })
}

prop_compose! {
    fn credentials()(
        user in account(), group in account(), real_user in account(), real_group in account(),
        saved_user in account(), saved_group in account(),
        ids in list(), names in list(), effective: u64, permitted: u64,
    ) -> Credentials {
        Credentials {
            user, group, real_user, real_group, saved_user, saved_group,
            supplemental_group_ids: ids,
            supplemental_group_names: names,
            capabilities_effective: capabilities(effective),
            capabilities_permitted: capabilities(permitted),
        }
    }
}

prop_compose! {
    fn image()(
        executable in shared(), args in list(), count in prop::option::of(any::<u64>()),
        command_line in shared(), truncated: bool, env_vars in list(), hash in shared(),
    ) -> Image {
        Image {
            elsewhere: None,
            executable: executable.map(Executable::new),
            arguments: Arguments { args, count, command_line, truncated },
            env_vars,
            md5: hash.clone(),
            sha1: hash.clone(),
            sha256: hash,
        }
    }
}

prop_compose! {
    fn container()(
        id in text(), name in shared(), image_name in shared(), tags in list(), pod in prop::bool::ANY,
    ) -> Container {
        Container {
            id: id.into(),
            runtime: pod.then_some("containerd"),
            pod: pod.then(|| Pod { uid: Text::default(), namespace: name.clone(), name: image_name.clone() }),
            name,
            image_name,
            image_tags: tags.clone(),
            image_hashes: tags,
        }
    }
}

prop_compose! {
    fn process()(
        pid: u32, entity_id in text(), start_ns: Option<i64>, exit_code: Option<i64>, image in image().boxed(),
        credentials in credentials().boxed(), working_directory in shared(), tty: Option<(u32, u32)>,
        interactive: Option<bool>, container in prop::option::of(container().boxed()), degraded in list(),
        source_ip in shared(),
    ) -> Process {
        Process {
            start_ns,
            end_ns: start_ns,
            exit_code,
            image: Arc::new(image),
            credentials: Arc::new(credentials),
            working_directory,
            tty: tty.map(|(major, minor)| Tty { major, minor }),
            interactive,
            container: container.map(Arc::new),
            entry_meta: interactive.map(|_| EntryMeta { entry_type: EntryType::Sshd, source_ip }),
            degraded,
            ..Process::new(pid, entity_id.into())
        }
    }
}

prop_compose! {
    fn file()(
        path in text(), host_path in prop::option::of(text()), original in prop::option::of(text()),
        owner in prop::option::of(text()), target in prop::option::of(text()), incomplete: bool,
        numbers: Option<(u64, u32, u32, i64)>, entropy: Option<f64>,
    ) -> OwnedFile {
        OwnedFile { path, host_path, original, owner, target, incomplete, numbers, entropy }
    }
}

prop_compose! {
    fn host()(texts in prop::collection::vec(shared(), 8), ip in list(), mac in list()) -> Host {
        let take = |at: usize| texts.get(at).cloned().flatten();
        Host {
            id: take(0),
            hostname: take(1).unwrap_or_default(),
            name: take(2).unwrap_or_default(),
            kernel: take(3).unwrap_or_default(),
            os_name: take(4),
            os_id: take(5),
            os_version: take(6),
            boot_id: take(7),
            ip,
            mac,
            ..Host::default()
        }
    }
}

prop_compose! {
    fn meta()(nonce: [u8; 10], sequence: u64, time_ns: i64, action in prop::sample::select(&Action::ALL[..]), ok: Option<bool>) -> EventMeta {
        EventMeta {
            id: EventId::new(nonce, sequence),
            sequence,
            time_ns,
            action,
            outcome: ok.map(|ok| if ok { Outcome::Success } else { Outcome::Failure }),
            integration: if sequence % 2 == 0 { Integration::Endpoint } else { Integration::CloudDefend },
        }
    }
}

prop_compose! {
    pub(crate) fn world()(
        meta in meta(), host in host().boxed(), file in prop::option::of(file().boxed()),
        processes in prop::array::uniform6(prop::option::of(process().boxed())), ancestry in list(),
        previous in prop::option::of(image().boxed()),
        actor in prop::option::of(credentials().boxed()), agent in text(),
    ) -> World {
        let agent = Agent { id: agent.into(), version: b"0.1.0".as_slice().into(), namespace: b"default".as_slice().into() };
        World { meta, host, agent, file, processes, ancestry, previous, actor }
    }
}
