//! Names to columns, expressions to types: after this a query cannot fail for what its text says.

mod call;
mod expr;
mod like;
mod names;
mod search;
mod stats;

use std::sync::Arc;

use sensor_eql::diag::nearest;
use sensor_eql::{Diagnostic, Span};
use sensor_store::schema;

use super::ast::{Assign, Command, Name};
use super::bound::{Aggregate, Node, Op, Plan, Scan, Slot, SortBy, Source, Step};
use super::dissect::Dissect;
use super::grok::Grok;
use super::index::type_of;
use super::outcome::Type;

pub(super) type Bound<T> = Result<T, Diagnostic>;

/// Rows of a query that names no limit, and of any query.
const ROWS_DEFAULT: usize = 1_000;
const ROWS_MAX: usize = 10_000;

/// What the name means at this point of the query.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    ty: Type,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Slot(Slot),
    /// Not asked for so far.
    Unread(Source),
}

/// While the aggregates of a `stats` are bound.
#[derive(Debug, Default)]
struct Aggregating {
    aggregates: Vec<Aggregate>,
    /// The groups' names, which may stand beside aggregates.
    groups: Vec<Entry>,
    /// Whether an aggregate's argument is bound.
    inside: bool,
    filter: Option<Node>,
}

#[derive(Debug, Default)]
pub(super) struct Binder {
    scope: Vec<Entry>,
    slots: usize,
    sources: Vec<(Slot, Source)>,
    steps: Vec<Step>,
    aggregating: Option<Aggregating>,
}

/// Binds a parsed query.
pub(super) fn bind(commands: &[Command]) -> Bound<Plan> {
    let mut binder = Binder::default();
    let mut scan = Scan::Row;
    let mut limited = false;
    for command in commands {
        match command {
            Command::From { sources, metadata } => scan = binder.from(sources, metadata)?,
            Command::Limit(_) => limited = true,
            _ => {}
        }
        binder.command(command)?;
    }
    let names: Vec<String> = binder.scope.iter().map(|entry| entry.name.clone()).collect();
    let mut output = Vec::new();
    for name in names {
        if let Some((ty, slot)) = binder.find(&name) {
            output.push((name, ty, slot));
        }
    }
    binder.steps.push(Step::Limit(if limited { ROWS_MAX } else { ROWS_DEFAULT }));
    let fields = binder.sources.iter().filter_map(|(_, source)| match source {
        Source::Column(index) => schema::columns().get(*index).map(|column| column.name),
        _ => None,
    });
    Ok(Plan {
        scan,
        fields: fields.collect(),
        sources: binder.sources,
        steps: binder.steps,
        output,
        slots: binder.slots,
        implicit_limit: !limited,
    })
}

impl Binder {
    fn slot(&mut self) -> Slot {
        self.slots += 1;
        self.slots - 1
    }

    /// The type and place of a visible name.
    fn find(&mut self, name: &str) -> Option<(Type, Slot)> {
        let base = name.strip_suffix(".text");
        let at = self.scope.iter().position(|entry| entry.name == name).or_else(|| {
            // The text under a keyword holds the same.
            let base = base?;
            self.scope.iter().position(|entry| entry.name == base && entry.ty == Type::Keyword)
        })?;
        let next = self.slots;
        let entry = self.scope.get_mut(at)?;
        match entry.place {
            Place::Slot(slot) => Some((entry.ty, slot)),
            Place::Unread(source) => {
                entry.place = Place::Slot(next);
                self.slots += 1;
                self.sources.push((next, source));
                Some((entry.ty, next))
            }
        }
    }

    fn unknown(&self, name: &str, span: Span) -> Diagnostic {
        let found = Diagnostic::error(span, format!("Unknown column [{name}]"));
        match nearest(name, self.scope.iter().map(|entry| entry.name.as_str())) {
            Some(close) => found.help(format!("did you mean `{close}`?")),
            None if schema::find(name).is_some() => {
                found.because("the field is known, but a command before it left it out")
            }
            None => found,
        }
    }

    /// Makes a name mean something new; it moves to the end.
    fn define(&mut self, name: &str, ty: Type, slot: Slot) {
        self.scope.retain(|entry| entry.name != name);
        self.scope.push(Entry { name: name.to_owned(), ty, place: Place::Slot(slot) });
    }

    fn from(&mut self, sources: &[Name], metadata: &[Name]) -> Bound<Scan> {
        let (mut patterns, mut excluded) = (Vec::new(), Vec::new());
        for source in sources {
            match source.text.strip_prefix('-') {
                Some(rest) => excluded.push(rest.to_owned()),
                None => patterns.push(source.clone()),
            }
        }
        for (index, column) in schema::columns().iter().enumerate() {
            let place = Place::Unread(Source::Column(index));
            self.scope.push(Entry { name: column.name.to_owned(), ty: type_of(column.ty), place });
        }
        for name in metadata {
            let (ty, source) = match name.text.as_str() {
                "_id" => (Type::Keyword, schema::find("event.id").map_or(Source::Nothing, Source::Column)),
                "_index" => (Type::Keyword, Source::Index),
                "_version" => (Type::Long, Source::Version),
                "_ignored" => (Type::Keyword, Source::Nothing),
                other => {
                    let text = format!("the metadata field `{other}` is not supported");
                    let found = Diagnostic::error(name.span, text);
                    return Err(found.help("`_id`, `_index`, `_version` and `_ignored` are"));
                }
            };
            self.scope.push(Entry { name: name.text.clone(), ty, place: Place::Unread(source) });
        }
        Ok(Scan::Store { patterns, excluded })
    }

    fn command(&mut self, command: &Command) -> Bound<()> {
        match command {
            Command::From { .. } => {}
            Command::Row(assigns) | Command::Eval(assigns) => self.eval(assigns)?,
            Command::Where(expr) => {
                let node = self.expr(expr)?;
                self.boolean(&node)?;
                self.steps.push(Step::Filter(node));
            }
            Command::Stats { aggregates, by, inline } => self.stats(aggregates, by, *inline)?,
            Command::Keep(patterns) => self.keep(patterns)?,
            Command::Drop(patterns) => self.drop(patterns)?,
            Command::Rename(pairs) => self.rename(pairs)?,
            Command::Sort(keys) => {
                let mut sorted = Vec::new();
                for key in keys {
                    let node = self.expr(&key.expr)?;
                    let nulls_first = key.nulls_first.unwrap_or(key.descending);
                    sorted.push(SortBy { node, descending: key.descending, nulls_first });
                }
                self.steps.push(Step::Sort(sorted));
            }
            Command::Limit(count) => {
                self.steps.push(Step::Limit(usize::try_from(*count).unwrap_or(usize::MAX)));
            }
            Command::MvExpand(name) => {
                let Some((_, from)) = self.find(&name.text) else {
                    return Err(self.unknown(&name.text, name.span));
                };
                let to = self.slot();
                if let Some(entry) = self.scope.iter_mut().find(|entry| entry.name == name.text) {
                    entry.place = Place::Slot(to);
                }
                self.steps.push(Step::Expand { from, to });
            }
            Command::Grok(input, patterns) => {
                let input = self.text_input(input)?;
                let grok = Grok::new(patterns)?;
                let slots = self.define_all(grok.fields().map(|(name, ty)| (name.to_owned(), ty)).collect());
                self.steps.push(Step::Grok { input, grok: Arc::new(grok), slots });
            }
            Command::Dissect { input, pattern, separator } => {
                let input = self.text_input(input)?;
                let dissect = Dissect::new(&pattern.text, separator)
                    .map_err(|cause| Diagnostic::error(pattern.span, cause))?;
                let names = dissect.names().map(|name| (name.to_owned(), Type::Keyword)).collect();
                let slots = self.define_all(names);
                self.steps.push(Step::Dissect { input, dissect: Arc::new(dissect), slots });
            }
        }
        Ok(())
    }

    fn define_all(&mut self, names: Vec<(String, Type)>) -> Vec<Slot> {
        let mut slots = Vec::new();
        for (name, ty) in names {
            let slot = self.slot();
            self.define(&name, ty, slot);
            slots.push(slot);
        }
        slots
    }

    fn text_input(&mut self, input: &super::ast::Expr) -> Bound<Node> {
        let node = self.expr(input)?;
        match node.ty {
            Type::Keyword | Type::Null => Ok(node),
            ty => Err(Diagnostic::error(node.span, format!("it must be text, but is [{}]", ty.name()))),
        }
    }

    fn eval(&mut self, assigns: &[Assign]) -> Bound<()> {
        for assign in assigns {
            let node = self.expr(&assign.expr)?;
            if node.ty == Type::Period {
                return Err(Diagnostic::error(node.span, "a span of time cannot be a column"));
            }
            let slot = self.slot();
            self.define(&assign.name.text, node.ty, slot);
            self.steps.push(Step::Eval(slot, node));
        }
        Ok(())
    }

    fn boolean(&self, node: &Node) -> Bound<()> {
        match node.ty {
            Type::Boolean | Type::Null => Ok(()),
            ty => Err(Diagnostic::error(
                node.span,
                format!("a condition must be [boolean], not [{}]", ty.name()),
            )),
        }
    }

    fn slot_node(ty: Type, slot: Slot, span: Span) -> Node {
        Node { op: Op::Slot(slot), ty, span }
    }
}
