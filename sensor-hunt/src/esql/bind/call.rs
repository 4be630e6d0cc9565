//! Calls of functions.

use sensor_eql::pattern::Cidr;
use sensor_eql::{Diagnostic, Span};

use super::stats::reduce_of;
use super::{Binder, Bound};
use crate::esql::ast::{Expr, Kind, Name};
use crate::esql::bound::{Node, Op};
use crate::esql::functions::{Arg, Function, Returns, find, internal, refuse_pattern, refuse_word};
use crate::esql::outcome::Type;
use crate::esql::value::Val;

/// The type that two values can both have.
pub(super) fn common(left: Type, right: Type) -> Option<Type> {
    match (left, right) {
        (Type::Null, other) | (other, Type::Null) => Some(other),
        (left, right) if left == right => Some(left),
        (Type::Integer, Type::Long) | (Type::Long, Type::Integer) => Some(Type::Long),
        (left, right) => (left.is_number() && right.is_number()).then_some(Type::Double),
    }
}

fn accepts(arg: Arg, ty: Type, before: Type) -> bool {
    ty == Type::Null
        || match arg {
            Arg::Any => ty != Type::Period,
            Arg::Text => ty == Type::Keyword,
            Arg::Number => ty.is_number(),
            Arg::Whole => matches!(ty, Type::Integer | Type::Long),
            Arg::Date => ty == Type::Date,
            Arg::Period => ty == Type::Period,
            Arg::Ip => ty == Type::Ip,
            Arg::Same => common(before, ty).is_some(),
        }
}

fn wanted(arg: Arg, before: Type) -> &'static str {
    match arg {
        Arg::Any => "a value",
        Arg::Text => "[keyword]",
        Arg::Number => "a number",
        Arg::Whole => "[integer] or [long]",
        Arg::Date => "[date]",
        Arg::Period => "a span of time, like `1 hour`",
        Arg::Ip => "[ip]",
        Arg::Same => before.name(),
    }
}

impl Binder {
    pub(super) fn call(&mut self, name: &Name, args: &[Expr], span: Span) -> Bound<Node> {
        if let Some(reduce) = reduce_of(&name.text) {
            return self.aggregate(reduce, name, args, span);
        }
        let function = match name.text.as_str() {
            "now" | "case" | "cidr_match" | "replace" | "bucket" | "match" | "match_phrase" | "term"
            | "kql" => None,
            other => Some(find(other).map_err(|(text, help)| {
                let found = Diagnostic::error(name.span, text);
                match help {
                    Some(help) => found.help(help),
                    None => found,
                }
            })?),
        };
        let mut nodes = Vec::new();
        for arg in args {
            nodes.push(self.expr(arg)?);
        }
        match (function, name.text.as_str()) {
            (Some(function), "date_format" | "date_parse") => {
                // The pattern may be missing; an empty one stands for the usual form.
                if nodes.len() == 1 {
                    nodes.insert(0, Node::constant(Val::text(""), Type::Keyword, span));
                }
                if let Some(pattern) = nodes.first() {
                    let Some(text) = pattern.as_const().and_then(Val::as_text) else {
                        return Err(Diagnostic::error(pattern.span, "the pattern must be a string"));
                    };
                    if let Some(cause) = refuse_pattern(text) {
                        return Err(Diagnostic::error(pattern.span, cause));
                    }
                }
                Self::apply(function, nodes, span)
            }
            (Some(function), "date_diff" | "date_extract") => {
                let word = nodes.first().and_then(|node| Some((node.span, node.as_const()?.as_text()?)));
                if let Some((at, word)) = word
                    && let Some(cause) = refuse_word(function.name, word)
                {
                    return Err(Diagnostic::error(at, cause));
                }
                Self::apply(function, nodes, span)
            }
            (Some(function), _) => Self::apply(function, nodes, span),
            (None, "now") if nodes.is_empty() => Ok(Node { op: Op::Now, ty: Type::Date, span }),
            (None, "now") => Err(Diagnostic::error(span, "`now` takes no argument")),
            (None, "case") => self.case(nodes, span),
            (None, "cidr_match") => Self::cidr(nodes, span),
            (None, "replace") => self.replace(nodes, span),
            (None, "match" | "match_phrase" | "term") => {
                if let Some(Kind::Field(field)) = args.first().map(|arg| &arg.kind) {
                    Self::searchable(field, span)?;
                }
                self.search(&name.text, nodes, span)
            }
            (None, "kql") => self.kql(&nodes, span),
            (None, _) => {
                let date = nodes.first().is_some_and(|node| node.ty == Type::Date);
                let form = match (date, nodes.len()) {
                    (true, 2) => "bucket_date",
                    (true, 4) => "bucket_date_range",
                    (false, 2) => "bucket_number",
                    (false, 4) => "bucket_number_range",
                    _ => {
                        let found = Diagnostic::error(span, "`bucket` needs 2 or 4 arguments");
                        return Err(found.help("`bucket(field, span)`, `bucket(field, count, from, to)`"));
                    }
                };
                let function = internal(form);
                let function = function.ok_or_else(|| Diagnostic::error(span, "no such function"))?;
                Self::apply(function, nodes, span)
            }
        }
    }

    pub(super) fn apply(function: &'static Function, mut nodes: Vec<Node>, span: Span) -> Bound<Node> {
        let most = function.args.len();
        let repeats = function.repeats;
        let least = most - function.optional - usize::from(repeats);
        if nodes.len() < least || (nodes.len() > most && !repeats) {
            let count = match (repeats, least == most) {
                (true, _) => format!("at least {least}"),
                (false, true) => most.to_string(),
                (false, false) => format!("{least} to {most}"),
            };
            let text = format!("`{}` needs {count} arguments, not {}", function.name, nodes.len());
            return Err(Diagnostic::error(span, text));
        }
        let mut shared = Type::Null;
        let last = function.args.last().copied().unwrap_or(Arg::Any);
        for (position, node) in nodes.iter_mut().enumerate() {
            let arg = function.args.get(position).copied().unwrap_or(last);
            // A string where a date or a span of time belongs is read as one.
            let ty = match arg {
                Arg::Date => Type::Date,
                Arg::Period => Type::Period,
                _ => shared,
            };
            if matches!(arg, Arg::Date | Arg::Period | Arg::Same) {
                Self::literal_as(node, ty)?;
            }
            if !accepts(arg, node.ty, shared) {
                let text = format!(
                    "argument {} of `{}` must be {}, but is [{}]",
                    position + 1,
                    function.name,
                    wanted(arg, shared),
                    node.ty.name()
                );
                return Err(Diagnostic::error(node.span, text));
            }
            shared = if position == 0 { node.ty } else { common(shared, node.ty).unwrap_or(shared) };
        }
        let ty = match function.returns {
            Returns::Is(ty) => ty,
            Returns::Common => shared,
            Returns::First => nodes.first().map_or(Type::Null, |node| node.ty),
        };
        Ok(Node { op: Op::Call(function, nodes), ty, span })
    }

    fn case(&mut self, nodes: Vec<Node>, span: Span) -> Bound<Node> {
        if nodes.len() < 2 {
            return Err(Diagnostic::error(span, "`case` needs a condition and a value"));
        }
        let mut ty = Type::Null;
        let (mut pairs, mut other) = (Vec::new(), None);
        let mut nodes = nodes.into_iter();
        while let Some(first) = nodes.next() {
            let (condition, mut value) = match nodes.next() {
                Some(value) => (Some(first), value),
                None => (None, first),
            };
            Self::literal_as(&mut value, ty)?;
            ty = common(ty, value.ty).ok_or_else(|| {
                let text =
                    format!("this is [{}], but the values before it are [{}]", value.ty.name(), ty.name());
                Diagnostic::error(value.span, text)
            })?;
            match condition {
                Some(condition) => {
                    self.boolean(&condition)?;
                    pairs.push((condition, value));
                }
                None => other = Some(Box::new(value)),
            }
        }
        Ok(Node { op: Op::Case(pairs, other), ty, span })
    }

    fn cidr(nodes: Vec<Node>, span: Span) -> Bound<Node> {
        let mut nodes = nodes.into_iter();
        let Some(address) = nodes.next() else {
            return Err(Diagnostic::error(span, "`cidr_match` needs an address and ranges"));
        };
        if !matches!(address.ty, Type::Ip | Type::Null) {
            let text = format!("argument 1 of `cidr_match` must be [ip], but is [{}]", address.ty.name());
            return Err(Diagnostic::error(address.span, text).help("`to_ip(...)`"));
        }
        let mut ranges = Vec::new();
        for node in nodes {
            let range = node.as_const().and_then(Val::as_text).and_then(Cidr::parse);
            let wrong =
                || Diagnostic::error(node.span, "this is no address range").help("like \"10.0.0.0/8\"");
            ranges.push(range.ok_or_else(wrong)?);
        }
        Ok(Node { op: Op::Cidr(Box::new(address), ranges), ty: Type::Boolean, span })
    }
}
