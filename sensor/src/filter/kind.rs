//! What is known of an event's fields before it is made, by the kind of event.

use sensor_common::wire::FileOp;
use sensor_ecs::{Action, FieldId, FileType, Integration, Scalar, field};
use sensor_eql::Role;

use crate::enrich::operation;

/// An event in a container may be written as both.
const INTEGRATIONS: [Integration; 2] = [Integration::Endpoint, Integration::CloudDefend];

type Texts = Vec<Option<&'static [u8]>>;

/// A kind of event.
pub(super) struct Kind {
    action: Action,
    actions: Texts,
    categories: Texts,
    types: Texts,
    datasets: Texts,
    /// Nothing but absent where there is no file.
    operations: Texts,
    file_types: Texts,
}

impl Kind {
    /// Events of an operation on file names.
    pub(super) fn of_file(op: FileOp) -> Self {
        let operation = operation(op);
        Self {
            operations: vec![Some(operation.name().as_bytes())],
            file_types: file_types(op),
            ..Self::of_action(operation.action())
        }
    }

    /// Events of an action of a process.
    pub(super) fn of_action(action: Action) -> Self {
        let texts = |list: &'static [Scalar]| {
            list.iter().filter_map(|item| item.as_value().as_keyword()).map(Some).collect()
        };
        Self {
            action,
            actions: vec![Some(action.name().as_bytes())],
            categories: texts(action.category()),
            types: texts(action.event_type()),
            datasets: INTEGRATIONS.map(|integration| Some(integration.dataset(action).as_bytes())).into(),
            operations: vec![None],
            file_types: vec![None],
        }
    }

    /// `event.category`.
    pub(super) fn category(&self) -> &'static str {
        if self.action.is_file() { "file" } else { "process" }
    }

    /// `file.type`, of which one holds.
    #[cfg(test)]
    pub(super) fn file_types(&self) -> Vec<Option<&'static str>> {
        self.file_types.iter().map(|text| text.map(|text| std::str::from_utf8(text).unwrap())).collect()
    }

    /// What the field tells.
    pub(super) fn role(&self, id: FieldId) -> Role<'_> {
        const LINUX: &[Option<&[u8]>] = &[Some(b"linux")];
        const EVENT: &[Option<&[u8]>] = &[Some(b"event")];
        const MODULES: &[Option<&[u8]>] =
            &[Some(INTEGRATIONS[0].module().as_bytes()), Some(INTEGRATIONS[1].module().as_bytes())];
        match id {
            field::EVENT_ACTION => Role::OneOf(&self.actions),
            field::EVENT_CATEGORY => Role::OneOf(&self.categories),
            field::EVENT_TYPE => Role::OneOf(&self.types),
            field::EVENT_DATASET | field::DATA_STREAM_DATASET => Role::OneOf(&self.datasets),
            field::EVENT_KIND => Role::OneOf(EVENT),
            field::EVENT_MODULE => Role::OneOf(MODULES),
            field::HOST_OS_TYPE => Role::OneOf(LINUX),
            field::FILE_TYPE => Role::OneOf(&self.file_types),
            field::FILE_EXT_OPERATION => Role::OneOf(&self.operations),
            _ if !self.action.is_file() => Role::Other,
            field::FILE_PATH
            | field::FILE_EXT_HOST_PATH
            | field::FILE_EXT_ORIGINAL_PATH
            | field::FILE_EXT_ORIGINAL_HOST_PATH
            | field::FILE_EXT_FILE_SYSTEM_PATH
            | field::FILE_EXT_ORIGINAL_FILE_SYSTEM_PATH
            | field::FILE_EXT_UPPER_PATH
            | field::FILE_EXT_ORIGINAL_UPPER_PATH
            | field::FILE_EXT_LINKED_PATH => Role::Path,
            field::FILE_NAME | field::FILE_EXT_ORIGINAL_NAME => Role::Name,
            field::FILE_EXTENSION | field::FILE_EXT_ORIGINAL_EXTENSION => Role::Extension,
            _ => Role::Other,
        }
    }
}

/// The types that a file may have after the operation; absent where its inode cannot be read.
fn file_types(op: FileOp) -> Texts {
    use FileType::{BlockDevice, CharDevice, Dir, Fifo, File, Socket, Symlink};
    let types: &[FileType] = match op {
        FileOp::Open => &[File],
        FileOp::Mkdir | FileOp::Rmdir => &[Dir],
        FileOp::Symlink => &[Symlink],
        FileOp::Mknod => &[File, Fifo, Socket, CharDevice, BlockDevice],
        FileOp::Link | FileOp::Tmpfile | FileOp::Unlink => {
            &[File, Symlink, Fifo, Socket, CharDevice, BlockDevice]
        }
        FileOp::Rename | FileOp::Exchange => &[File, Dir, Symlink, Fifo, Socket, CharDevice, BlockDevice],
    };
    types.iter().map(|kind| Some(kind.name().as_bytes())).chain([None]).collect()
}
