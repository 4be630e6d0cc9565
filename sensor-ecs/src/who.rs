//! How the rows of the field table get at their values: a part that may be missing answers [`Value::Absent`].

use crate::event::{Event, FileFields, ProcessView};
use crate::file::{Executable, PathView};
use crate::process::{Account, Container, Credentials, EntryType, Image, Pod, Process, Text};
use crate::value::Value;

pub(crate) fn text(text: &[u8]) -> Value<'_> {
    if text.is_empty() { Value::Absent } else { Value::Keyword(text) }
}

pub(crate) fn text_opt(value: Option<&Text>) -> Value<'_> {
    value.map_or(Value::Absent, |value| text(value))
}

fn bytes_opt(value: Option<&[u8]>) -> Value<'_> {
    value.map_or(Value::Absent, text)
}

pub(crate) fn constant(text: &'static str) -> Value<'static> {
    Value::Keyword(text.as_bytes())
}

pub(crate) fn constant_opt(text: Option<&'static str>) -> Value<'static> {
    text.map_or(Value::Absent, constant)
}

pub(crate) fn long<'a>(number: u64) -> Value<'a> {
    // Elasticsearch's long ends here as well.
    Value::Long(i64::try_from(number).unwrap_or(i64::MAX))
}

fn long_opt<'a>(number: Option<u64>) -> Value<'a> {
    number.map_or(Value::Absent, long)
}

fn date_opt<'a>(ns: Option<i64>) -> Value<'a> {
    ns.map_or(Value::Absent, Value::Date)
}

fn flag<'a>(set: bool) -> Value<'a> {
    if set { Value::Boolean(true) } else { Value::Absent }
}

/// A process in one of its roles.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a>(Option<&'a Process>);

macro_rules! answers {
    ($($name:ident = |$it:ident| $get:expr;)+) => {
        $(pub(crate) fn $name(self) -> Value<'a> {
            match self.0 {
                Some($it) => $get,
                None => Value::Absent,
            }
        })+
    };
}

impl<'a> Who<'a> {
    answers! {
        pid = |p| Value::Long(i64::from(p.pid));
        entity_id = |p| text(&p.entity_id);
        start = |p| date_opt(p.start_ns);
        end = |p| date_opt(p.end_ns);
        exit_code = |p| p.exit_code.map_or(Value::Absent, Value::Long);
        working_directory = |p| text_opt(p.working_directory.as_ref());
        interactive = |p| p.interactive.map_or(Value::Absent, Value::Boolean);
        tty_major = |p| long_opt(p.tty.map(|tty| u64::from(tty.major)));
        tty_minor = |p| long_opt(p.tty.map(|tty| u64::from(tty.minor)));
        entry_type = |p| constant_opt(p.entry_meta.as_ref().map(|meta| EntryType::name(meta.entry_type)));
        entry_source_ip = |p| text_opt(p.entry_meta.as_ref().and_then(|meta| meta.source_ip.as_ref()));
        degraded = |p| Value::List(&p.degraded);
        executable = |p| Was(Some(&p.image)).executable();
        args = |p| Was(Some(&p.image)).args();
        args_count = |p| Was(Some(&p.image)).args_count();
        name = |p| bytes_opt(p.image.executable.as_ref().and_then(|executable| executable.name()));
        command_line = |p| text_opt(p.image.arguments.command_line.as_ref());
        command_line_truncated = |p| flag(p.image.arguments.truncated);
        env_vars = |p| Value::List(&p.image.env_vars);
        md5 = |p| text_opt(p.image.md5.as_ref());
        sha1 = |p| text_opt(p.image.sha1.as_ref());
        sha256 = |p| text_opt(p.image.sha256.as_ref());
        user_id = |p| Actor(Some(&p.credentials)).user_id();
        user_name = |p| Actor(Some(&p.credentials)).user_name();
        group_id = |p| Actor(Some(&p.credentials)).group_id();
        group_name = |p| Actor(Some(&p.credentials)).group_name();
        real_user_id = |p| Actor(Some(&p.credentials)).real_user_id();
        real_user_name = |p| Actor(Some(&p.credentials)).real_user_name();
        real_group_id = |p| Actor(Some(&p.credentials)).real_group_id();
        real_group_name = |p| Actor(Some(&p.credentials)).real_group_name();
        saved_user_id = |p| id(&p.credentials.saved_user);
        saved_user_name = |p| name(&p.credentials.saved_user);
        saved_group_id = |p| id(&p.credentials.saved_group);
        saved_group_name = |p| name(&p.credentials.saved_group);
        supplemental_group_ids = |p| Value::List(&p.credentials.supplemental_group_ids);
        supplemental_group_names = |p| Value::List(&p.credentials.supplemental_group_names);
        capabilities_effective = |p| Value::List(&p.credentials.capabilities_effective);
        capabilities_permitted = |p| Value::List(&p.credentials.capabilities_permitted);
    }
}

/// The image before an exec.
#[derive(Clone, Copy)]
pub(crate) struct Was<'a>(Option<&'a Image>);

impl<'a> Was<'a> {
    answers! {
        executable = |i| bytes_opt(i.executable.as_ref().map(|executable| executable.path()));
        args = |i| Value::List(&i.arguments.args);
        args_count = |i| long_opt(i.arguments.count);
    }
}

/// Whose rights count at the top level of the document.
#[derive(Clone, Copy)]
pub(crate) struct Actor<'a>(Option<&'a Credentials>);

fn id(account: &Account) -> Value<'_> {
    text_opt(account.id.as_ref())
}

fn name(account: &Account) -> Value<'_> {
    text_opt(account.name.as_ref())
}

impl<'a> Actor<'a> {
    answers! {
        user_id = |c| id(&c.user);
        user_name = |c| name(&c.user);
        group_id = |c| id(&c.group);
        group_name = |c| name(&c.group);
        real_user_id = |c| id(&c.real_user);
        real_user_name = |c| name(&c.real_user);
        real_group_id = |c| id(&c.real_group);
        real_group_name = |c| name(&c.real_group);
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Where<'a>(Option<&'a Container>);

fn pod(container: &Container) -> Option<&Pod> {
    container.pod.as_ref()
}

impl<'a> Where<'a> {
    answers! {
        id = |c| text(&c.id);
        name = |c| text_opt(c.name.as_ref());
        runtime = |c| constant_opt(c.runtime);
        image_name = |c| text_opt(c.image_name.as_ref());
        image_tags = |c| Value::List(&c.image_tags);
        image_hashes = |c| Value::List(&c.image_hashes);
        pod_namespace = |c| text_opt(pod(c).and_then(|pod| pod.namespace.as_ref()));
        pod_name = |c| text_opt(pod(c).and_then(|pod| pod.name.as_ref()));
        pod_type = |c| constant_opt(pod(c).map(|_| "pod"));
    }
}

#[derive(Clone, Copy)]
pub(crate) struct What<'e, 'a>(Option<&'e FileFields<'a>>);

fn path_name<'a>(path: &PathView<'a>) -> Value<'a> {
    bytes_opt(path.name())
}

impl<'e: 'a, 'a> What<'e, 'a> {
    answers! {
        path = |f| text(f.path.path());
        name = |f| path_name(&f.path);
        extension = |f| bytes_opt(f.path.extension());
        host_path = |f| bytes_opt(f.host.path);
        file_system_path = |f| bytes_opt(f.file_system.path);
        upper_path = |f| bytes_opt(f.upper.path);
        linked_path = |f| bytes_opt(f.linked_path);
        operation = |f| constant_opt(f.operation.map(|operation| operation.name()));
        original_path = |f| bytes_opt(f.original.map(|path| path.path()));
        original_name = |f| f.original.as_ref().map_or(Value::Absent, path_name);
        original_extension = |f| bytes_opt(f.original.and_then(|path| path.extension()));
        original_host_path = |f| bytes_opt(f.host.original);
        original_file_system_path = |f| bytes_opt(f.file_system.original);
        original_upper_path = |f| bytes_opt(f.upper.original);
        path_incomplete = |f| flag(f.path_incomplete);
        outside_root = |f| flag(f.outside_root);
        inode = |f| bytes_opt(f.inode.as_ref().map(|digits| digits.as_bytes()));
        mode = |f| bytes_opt(f.mode.as_ref().map(|digits| digits.as_bytes()));
        uid = |f| bytes_opt(f.uid.as_ref().map(|digits| digits.as_bytes()));
        gid = |f| bytes_opt(f.gid.as_ref().map(|digits| digits.as_bytes()));
        owner = |f| bytes_opt(f.owner);
        group = |f| bytes_opt(f.group);
        size = |f| long_opt(f.size);
        mtime = |f| date_opt(f.mtime_ns);
        ctime = |f| date_opt(f.ctime_ns);
        file_type = |f| constant_opt(f.file_type.map(|ty| ty.name()));
        target_path = |f| bytes_opt(f.target_path);
        sha256 = |f| bytes_opt(f.sha256);
        header_bytes = |f| bytes_opt(f.header_bytes);
        entropy = |f| f.entropy.map_or(Value::Absent, Value::Double);
    }
}

impl Event<'_> {
    fn relation<'s>(&'s self, get: impl Fn(&'s ProcessView<'s>) -> Option<&'s Process>) -> Who<'s> {
        Who(self.process.as_ref().and_then(get))
    }

    pub(crate) fn process(&self) -> Who<'_> {
        self.relation(|view| Some(view.process))
    }

    fn executable_by_view(&self) -> Option<&Executable> {
        self.process.as_ref().and_then(|view| view.executable)
    }

    pub(crate) fn process_executable(&self) -> Value<'_> {
        self.executable_by_view()
            .map_or_else(|| self.process().executable(), |executable| text(executable.path()))
    }

    pub(crate) fn process_name(&self) -> Value<'_> {
        self.executable_by_view()
            .map_or_else(|| self.process().name(), |executable| bytes_opt(executable.name()))
    }

    pub(crate) fn parent(&self) -> Who<'_> {
        self.relation(|view| view.parent)
    }

    pub(crate) fn group_leader(&self) -> Who<'_> {
        self.relation(|view| view.group_leader)
    }

    pub(crate) fn session_leader(&self) -> Who<'_> {
        self.relation(|view| view.session_leader)
    }

    pub(crate) fn entry_leader(&self) -> Who<'_> {
        self.relation(|view| view.entry_leader)
    }

    pub(crate) fn entry_leader_parent(&self) -> Who<'_> {
        self.relation(|view| view.entry_leader_parent)
    }

    pub(crate) fn same_as_process(&self, leader: Who<'_>) -> Value<'_> {
        match (self.process().0, leader.0) {
            (Some(process), Some(leader)) => Value::Boolean(process.entity_id == leader.entity_id),
            _ => Value::Absent,
        }
    }

    pub(crate) fn ancestry(&self) -> Value<'_> {
        Value::List(self.process.as_ref().map_or(&[], |view| view.ancestry))
    }

    pub(crate) fn previous(&self) -> Was<'_> {
        Was(self.process.as_ref().and_then(|view| view.previous))
    }

    pub(crate) fn actor(&self) -> Actor<'_> {
        Actor(self.actor.or_else(|| self.process.as_ref().map(|view| &*view.process.credentials)))
    }

    pub(crate) fn container(&self) -> Where<'_> {
        Where(self.process.as_ref().and_then(|view| view.process.container.as_deref()))
    }

    pub(crate) fn file(&self) -> What<'_, '_> {
        What(self.file.as_ref())
    }
}
