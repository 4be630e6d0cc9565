//! The further looks that the live sensor takes at an event, taken at its document: replay must find what it found.

use sensor_ecs::{Degradation, Document, FieldId, PathView, Record, Value, field};

use crate::enrich::View as Way;

/// A document as a rule may also see it.
pub(in crate::cli) struct View<'d> {
    document: &'d Document,
    way: Way,
    path: Option<PathView<'d>>,
    original: Option<PathView<'d>>,
    image_lost: bool,
}

/// The fields that hold a file's names by another way, and those that they stand for.
const WAYS: [(Way, FieldId, FieldId); 3] = [
    (Way::Host, field::FILE_EXT_HOST_PATH, field::FILE_EXT_ORIGINAL_HOST_PATH),
    (Way::FileSystem, field::FILE_EXT_FILE_SYSTEM_PATH, field::FILE_EXT_ORIGINAL_FILE_SYSTEM_PATH),
    (Way::Upper, field::FILE_EXT_UPPER_PATH, field::FILE_EXT_ORIGINAL_UPPER_PATH),
];

/// Every look but the plain one, in the order of the live sensor.
pub(in crate::cli) fn further_views(document: &Document) -> impl Iterator<Item = View<'_>> {
    let path = |id| document.value(id).as_keyword().map(PathView::new);
    let others = WAYS.into_iter().map(move |(way, renamed, original)| (way, path(renamed), path(original)));
    let named = others.filter(|(_, renamed, original)| renamed.is_some() || original.is_some());
    let image_lost = image_lost(document);
    std::iter::once((Way::Task, None, None))
        .chain(named)
        .flat_map(move |names| [(names, false), (names, true)])
        .skip(1)
        .filter(move |(_, lost)| image_lost || !lost)
        .map(move |((way, path, original), image_lost)| View { document, way, path, original, image_lost })
}

impl View<'_> {
    /// By which way the file is named.
    pub(in crate::cli) fn way(&self) -> Way {
        self.way
    }
}

/// Whether the executable is absent because the sensor lost it, and not because there is none.
fn image_lost(document: &Document) -> bool {
    let unseen = Degradation::StartUnseen.scalar();
    let degraded = match document.value(field::PROCESS_EXT_DEGRADED) {
        Value::List(reasons) => reasons.contains(&unseen),
        reason => reason == unseen.as_value(),
    };
    degraded && document.value(field::PROCESS_EXECUTABLE).is_absent()
}

impl View<'_> {
    /// What is different about it.
    pub(in crate::cli) fn describe(&self) -> &'static str {
        match (self.path.is_some() || self.original.is_some(), self.image_lost) {
            (true, true) => "the host sees it, by a process whose program is not known",
            (true, false) => "the host sees it",
            (false, _) => "of a process whose program is not known",
        }
    }
}

impl Record for View<'_> {
    fn value(&self, id: FieldId) -> Value<'_> {
        let keyword = |part| match part {
            Some(bytes) => Value::Keyword(bytes),
            None => Value::Absent,
        };
        match (id, &self.path, &self.original) {
            (field::FILE_PATH, Some(path), _) => Value::Keyword(path.path()),
            (field::FILE_NAME, Some(path), _) => keyword(path.name()),
            (field::FILE_EXTENSION, Some(path), _) => keyword(path.extension()),
            (field::FILE_EXT_ORIGINAL_PATH, _, Some(path)) => Value::Keyword(path.path()),
            (field::FILE_EXT_ORIGINAL_NAME, _, Some(path)) => keyword(path.name()),
            (field::FILE_EXT_ORIGINAL_EXTENSION, _, Some(path)) => keyword(path.extension()),
            // No file name holds a NUL, so that no pattern but a bare wildcard is satisfied.
            (field::PROCESS_EXECUTABLE | field::PROCESS_NAME, _, _) if self.image_lost => {
                Value::Keyword(b"\0")
            }
            _ => self.document.value(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use sensor_ecs::OpenSchema;

    use super::*;

    fn document(json: &str) -> Document {
        let mut document = Document::new();
        document.parse(json.as_bytes(), &OpenSchema::new()).unwrap();
        document
    }

    #[test]
    fn a_plain_document_is_looked_at_once() {
        assert_eq!(further_views(&document(r#"{"file":{"path":"/x"},"process":{"name":"a"}}"#)).count(), 0);
    }

    #[test]
    fn the_hosts_path_gives_name_and_extension_too() {
        let document = document(r#"{"file":{"path":"/a","name":"a","Ext":{"host_path":"/box/b.conf"}}}"#);
        let views: Vec<_> = further_views(&document).collect();
        assert_eq!(views.len(), 1);
        assert_eq!(views[0].value(field::FILE_PATH), Value::Keyword(b"/box/b.conf"));
        assert_eq!(views[0].value(field::FILE_NAME), Value::Keyword(b"b.conf"));
        assert_eq!(views[0].value(field::FILE_EXTENSION), Value::Keyword(b"conf"));
        assert!(views[0].value(field::PROCESS_NAME).is_absent());
    }

    #[test]
    fn a_lost_executable_is_not_the_absence_of_one() {
        let lost = document(r#"{"process":{"Ext":{"degraded":["start_unseen"]}},"file":{"path":"/x"}}"#);
        let views: Vec<_> = further_views(&lost).collect();
        assert_eq!(views.len(), 1);
        assert_eq!(views[0].value(field::PROCESS_EXECUTABLE), Value::Keyword(b"\0"));
        let known = document(r#"{"process":{"Ext":{"degraded":["start_unseen"]},"executable":"/bin/a"}}"#);
        assert_eq!(further_views(&known).count(), 0);
    }
}
