//! Type check and lowering: from the syntax tree to the form that is evaluated, with every finding positioned.

mod lints;
mod node;
mod query;

use std::collections::HashSet;

use sensor_ecs::{Field, FieldId, FieldType, Schema};

use crate::ast::{CompareOp, Expr, ExprKind, PatternSyntax};
use crate::diag::{Diagnostic, Span, nearest};
use crate::func::{Func, Gives};
use crate::ir::{Node, OneOf, Pred, SCRIPT_FIELDS_MAX, Script, Test};
use crate::like::Patterns;
use crate::net::Cidr;
use crate::regex::{self, LuceneRegex};
use crate::time;
use crate::value::{self, Out};
use crate::wild::Wildcard;

/// The type of an expression as far as it is known before any event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ty {
    /// `null`, or a field that the schema does not know: fits everything.
    Unknown,
    Bool,
    Number,
    Text,
    Ip,
    Date,
}

impl Ty {
    fn of(field: FieldType) -> Self {
        match field {
            FieldType::Keyword => Self::Text,
            FieldType::Ip => Self::Ip,
            FieldType::Long | FieldType::Double => Self::Number,
            FieldType::Boolean => Self::Bool,
            FieldType::Date => Self::Date,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Unknown => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Ip => "an address",
            Self::Date => "a date",
        }
    }
}

/// Unknown fields of one query that get a "did you mean".
const SUGGESTIONS_MAX: usize = 50;
/// Lists longer than this are not searched for patterns that cover each other, which takes quadratic time.
const COVER_ITEMS_MAX: usize = 500;

/// What a field name stands for.
enum Known {
    Field(Field),
    /// Reads as null on every record.
    Nothing,
}

/// Lowers the expressions of one query and collects what is wrong with them.
pub(crate) struct Lower<'s> {
    schema: &'s dyn Schema,
    names: Option<Vec<String>>,
    /// The query was written in KQL, which words some findings differently.
    pub(crate) kql: bool,
    pub(crate) found: Vec<Diagnostic>,
    pub(crate) unknown: Vec<String>,
    unknown_set: HashSet<String>,
    /// Fields of the computed condition being lowered.
    script: Vec<FieldId>,
}

impl<'s> Lower<'s> {
    pub(crate) fn new(schema: &'s dyn Schema) -> Self {
        Self {
            schema,
            names: None,
            kql: false,
            found: Vec::new(),
            unknown: Vec::new(),
            unknown_set: HashSet::new(),
            script: Vec::new(),
        }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::error(span, message))
    }

    fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::warning(span, message))
    }

    fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        self.found.push(diagnostic);
        let last = self.found.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "pushed on the line above")]
        &mut self.found[last]
    }

    fn resolve(&mut self, name: &str, optional: bool, span: Span) -> Known {
        if let Some(field) = self.schema.lookup(name) {
            return Known::Field(field);
        }
        if !optional && self.unknown_set.insert(name.to_owned()) {
            self.unknown.push(name.to_owned());
            // A hostile rule may name thousands; the first few get a suggestion.
            if self.unknown.len() > SUGGESTIONS_MAX {
                self.warning(span, format!("unknown field `{name}`"));
                return Known::Nothing;
            }
            let names = match self.names.take() {
                Some(names) => names,
                None => self.schema.names().into_iter().map(std::borrow::Cow::into_owned).collect(),
            };
            let close = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
            self.names = Some(names);
            let d = self.warning(span, format!("unknown field `{name}`"));
            d.cause = Some("no record has it: it reads as null".to_owned());
            d.help = close.map(|c| format!("did you mean `{c}`?"));
        }
        Known::Nothing
    }

    /// Lowers a condition.
    pub(crate) fn pred(&mut self, e: &Expr) -> Pred {
        match &e.kind {
            ExprKind::Bool(b) => Pred::Const(*b),
            ExprKind::Null => Pred::Const(false),
            ExprKind::And(items) => Pred::and(items.iter().map(|i| self.pred(i)).collect()),
            ExprKind::Or(items) => Pred::or(items.iter().map(|i| self.pred(i)).collect()),
            ExprKind::Not(inner) => Pred::not(self.pred(inner)),
            ExprKind::Compare(op, l, r) => self.compare(*op, l, r, e.span),
            ExprKind::In { value, list, insensitive } => self.one_of(e, value, list, *insensitive),
            ExprKind::Match { value, patterns, syntax, insensitive } => {
                self.matching(e, value, patterns, *syntax, *insensitive)
            }
            ExprKind::Field { name, optional } => match self.resolve(name, *optional, e.span) {
                Known::Nothing => Pred::Const(false),
                Known::Field(field) => {
                    self.want_bool(Ty::of(field.ty), e.span);
                    Pred::Field(field.id, Test::Compare(CompareOp::Eq, Out::Bool(true)))
                }
            },
            ExprKind::Call { .. } => self.call_pred(e),
            ExprKind::Integer(_)
            | ExprKind::Decimal(_)
            | ExprKind::Text(_)
            | ExprKind::Negate(_)
            | ExprKind::Arithmetic(..) => {
                let (_, ty) = self.fresh_node(e);
                self.want_bool(ty, e.span);
                Pred::Const(false)
            }
        }
    }

    fn want_bool(&mut self, ty: Ty, span: Span) {
        if !matches!(ty, Ty::Bool | Ty::Unknown) {
            self.error(span, "a condition must be true or false").cause =
                Some(format!("this is {}", ty.text()));
        }
    }

    /// Lowers a computed condition from scratch: its own list of fields.
    fn script(&mut self, e: &Expr, make: impl FnOnce(Node) -> Node) -> Pred {
        let (node, ty) = self.fresh_node(e);
        self.want_bool(ty, e.span);
        self.finish_script(make(node), e.span)
    }

    fn finish_script(&mut self, node: Node, span: Span) -> Pred {
        let fields = std::mem::take(&mut self.script);
        if fields.len() > SCRIPT_FIELDS_MAX {
            self.error(span, format!("more than {SCRIPT_FIELDS_MAX} fields in one computed condition"));
            return Pred::Const(false);
        }
        if fields.is_empty() {
            let choice = [sensor_ecs::Value::Absent; SCRIPT_FIELDS_MAX];
            return Pred::Const(node.eval(&choice).is_true());
        }
        Pred::Script(Script { fields: fields.into(), node })
    }

    fn fresh_node(&mut self, e: &Expr) -> (Node, Ty) {
        self.script.clear();
        self.node(e)
    }

    /// The field behind a bare field expression.
    fn bare(&mut self, e: &Expr) -> Option<Known> {
        match &e.kind {
            ExprKind::Field { name, optional } => Some(self.resolve(name, *optional, e.span)),
            _ => None,
        }
    }

    /// `x == null` and its kin.
    fn is_null(&mut self, e: &Expr) -> Pred {
        match self.bare(e) {
            Some(Known::Nothing) => Pred::Const(true),
            Some(Known::Field(field)) => Pred::not(Pred::Field(field.id, Test::Present)),
            None if e.kind == ExprKind::Null => Pred::Const(true),
            None => {
                let (node, _) = self.fresh_node(e);
                self.finish_script(Node::IsNull(Box::new(node)), e.span)
            }
        }
    }

    fn reads_as_null(&mut self, e: &Expr) -> bool {
        e.kind == ExprKind::Null || matches!(self.bare(e), Some(Known::Nothing))
    }

    fn compare(&mut self, op: CompareOp, l: &Expr, r: &Expr, span: Span) -> Pred {
        for (null, other) in [(r, l), (l, r)] {
            if self.reads_as_null(null) {
                let is_null = self.is_null(other);
                return match op {
                    CompareOp::Eq => is_null,
                    CompareOp::Ne => Pred::not(is_null),
                    _ => Pred::Const(false),
                };
            }
        }
        if op == CompareOp::Ne {
            return Pred::not(self.compare(CompareOp::Eq, l, r, span));
        }
        let (op, l, r) = if literal(l).is_some() { (op.swapped(), r, l) } else { (op, l, r) };
        match (self.bare(l), self.bare(r), literal(r)) {
            (Some(Known::Field(_)), Some(Known::Field(_)), _) => {
                self.error(span, "a field cannot be compared with a field").help =
                    Some("compare with a literal; functions such as `startsWith` take two fields".to_owned());
                Pred::Const(false)
            }
            (Some(Known::Field(field)), _, Some(constant)) => {
                if op == CompareOp::Eq {
                    self.lint_wildcard(r);
                }
                self.check_pair(op, Ty::of(field.ty), literal_ty(&constant), l, r);
                Pred::Field(field.id, compare_test(op, field.ty, constant))
            }
            _ => {
                self.script.clear();
                let (left, lty) = self.node(l);
                let (right, rty) = self.node(r);
                self.check_pair(op, lty, rty, l, r);
                self.finish_script(Node::Compare(op, Box::new(left), Box::new(right)), span)
            }
        }
    }

    /// Whether two types can be compared; text that is a literal converts to the type of the other side.
    fn check_pair(&mut self, op: CompareOp, lty: Ty, rty: Ty, l: &Expr, r: &Expr) {
        let convertible = |ty: Ty, e: &Expr| match (ty, &e.kind) {
            (Ty::Number, ExprKind::Text(t)) => value::number(t).is_some(),
            (Ty::Bool, ExprKind::Text(t)) => value::boolean(t).is_some(),
            (Ty::Date, ExprKind::Text(t)) => time::parse(t).is_some(),
            (Ty::Number | Ty::Bool | Ty::Date, _) => true,
            _ => false,
        };
        let fits = match (lty, rty) {
            (Ty::Unknown, _) | (_, Ty::Unknown) => true,
            (a, b) if a == b => true,
            (Ty::Text | Ty::Ip, Ty::Text | Ty::Ip) | (Ty::Date, Ty::Number) | (Ty::Number, Ty::Date) => true,
            (a, Ty::Text) => convertible(a, r),
            (Ty::Text, b) => convertible(b, l),
            _ => false,
        };
        if !fits {
            self.error(l.span.to(r.span), format!("{} cannot be compared with {}", lty.text(), rty.text()));
        } else if lty == Ty::Bool && rty == Ty::Bool && op != CompareOp::Eq && op != CompareOp::Ne {
            self.error(l.span.to(r.span), "true and false have no order");
        }
    }

    fn one_of(&mut self, e: &Expr, value: &Expr, list: &[Expr], fold: bool) -> Pred {
        self.lint_repeats(list, fold);
        let constants: Option<Vec<Out<'static>>> = list.iter().map(literal).collect();
        match (self.bare(value), constants) {
            (Some(Known::Nothing), _) => Pred::Const(false),
            (Some(Known::Field(field)), Some(constants)) => {
                let ty = Ty::of(field.ty);
                for (item, constant) in list.iter().zip(&constants) {
                    self.lint_wildcard(item);
                    self.check_pair(CompareOp::Eq, ty, literal_ty(constant), value, item);
                }
                let test = if field.ty == FieldType::Ip {
                    let ranges: Option<Box<[Cidr]>> =
                        constants.iter().map(|c| Cidr::parse(std::str::from_utf8(c.text()?).ok()?)).collect();
                    ranges.map(Test::Cidr)
                } else {
                    None
                };
                let converted = constants.into_iter().map(|c| convert(field.ty, c)).collect();
                Pred::Field(field.id, test.unwrap_or_else(|| Test::OneOf(OneOf::new(converted, fold))))
            }
            _ => self.script(e, |node| node),
        }
    }

    fn matching(
        &mut self,
        e: &Expr,
        value: &Expr,
        patterns: &[(String, Span)],
        syntax: PatternSyntax,
        fold: bool,
    ) -> Pred {
        self.lint_covered(patterns, syntax, fold);
        match self.bare(value) {
            Some(Known::Nothing) => {
                self.regexes(patterns, syntax, fold);
                Pred::Const(false)
            }
            Some(Known::Field(field)) => {
                self.want_text(Ty::of(field.ty), value.span);
                let test = match syntax {
                    PatternSyntax::Wildcard | PatternSyntax::Star => Some(like_test(patterns, syntax, fold)),
                    PatternSyntax::Regex => self.regexes(patterns, syntax, fold).map(Test::Regex),
                };
                test.map_or(Pred::Const(false), |t| Pred::Field(field.id, t))
            }
            None => self.script(e, |node| node),
        }
    }

    fn want_text(&mut self, ty: Ty, span: Span) {
        if !matches!(ty, Ty::Text | Ty::Ip | Ty::Unknown) {
            let d = self.error(span, "patterns match text only");
            d.cause = Some(format!("this is {}", ty.text()));
            d.help = Some("compare with `==`, or convert with `string(..)`".to_owned());
        }
    }

    fn regexes(
        &mut self,
        patterns: &[(String, Span)],
        syntax: PatternSyntax,
        fold: bool,
    ) -> Option<LuceneRegex> {
        if syntax != PatternSyntax::Regex {
            return None;
        }
        let mut sound = true;
        for (pattern, span) in patterns {
            if let Err(error) = regex::check(pattern, fold) {
                sound = false;
                let near: String = pattern.chars().take(80).collect();
                let cause = format!("in `{near}` at byte {}", error.offset);
                self.error(*span, error.message).cause = Some(cause);
            }
        }
        if !sound {
            return None;
        }
        let all = LuceneRegex::new(patterns.iter().map(|(p, _)| p.as_str()), fold);
        match all {
            Ok(regex) => Some(regex),
            Err(error) => {
                let span = patterns.iter().fold(Span::default(), |_, (_, s)| *s);
                self.error(span, error.message);
                None
            }
        }
    }

    /// Functions of one field and literals become plain field tests.
    fn call_pred(&mut self, e: &Expr) -> Pred {
        let (node, ty) = self.fresh_node(e);
        self.want_bool(ty, e.span);
        let Node::Call {
            func: func @ (Func::StartsWith | Func::EndsWith | Func::StringContains),
            fold,
            args,
        } = &node
        else {
            return match node {
                Node::Cidr(inner, ranges) if matches!(*inner, Node::Field(_)) => {
                    self.single(Test::Cidr(ranges))
                }
                Node::Like(inner, patterns) if matches!(*inner, Node::Field(_)) => {
                    self.single(Test::Like(patterns))
                }
                node => self.finish_script(node, e.span),
            };
        };
        match args.as_ref() {
            [Node::Field(_), Node::Const(Out::Text(part))] => {
                let test = Test::Part { func: *func, fold: *fold, part: part.as_ref().into() };
                self.single(test)
            }
            _ => self.finish_script(node, e.span),
        }
    }

    /// The only field of the script being lowered, with a test of its own.
    fn single(&mut self, test: Test) -> Pred {
        match std::mem::take(&mut self.script).first() {
            Some(field) => Pred::Field(*field, test),
            None => Pred::Const(false),
        }
    }
}

fn literal(e: &Expr) -> Option<Out<'static>> {
    Some(match &e.kind {
        ExprKind::Bool(b) => Out::Bool(*b),
        ExprKind::Integer(n) => Out::Long(*n),
        ExprKind::Decimal(n) => Out::Double(*n),
        ExprKind::Text(t) => Out::Text(t.clone().into_bytes().into()),
        _ => return None,
    })
}

fn literal_ty(constant: &Out<'_>) -> Ty {
    match constant {
        Out::Null => Ty::Unknown,
        Out::Bool(_) => Ty::Bool,
        Out::Long(_) | Out::Double(_) => Ty::Number,
        Out::Date(_) => Ty::Date,
        Out::Text(_) => Ty::Text,
    }
}

/// A literal as the type of the field, so that no event pays for the conversion.
fn convert(ty: FieldType, constant: Out<'static>) -> Out<'static> {
    let text = constant.text().and_then(|t| std::str::from_utf8(t).ok());
    let converted = match (ty, text) {
        (FieldType::Date, Some(t)) => time::parse(t).map(Out::Date),
        (FieldType::Long | FieldType::Double, Some(t)) => value::number(t),
        (FieldType::Boolean, Some(t)) => value::boolean(t).map(Out::Bool),
        _ => None,
    };
    converted.unwrap_or(constant)
}

fn compare_test(op: CompareOp, ty: FieldType, constant: Out<'static>) -> Test {
    if ty == FieldType::Ip
        && op == CompareOp::Eq
        && let Some(range) = constant.text().and_then(|t| Cidr::parse(std::str::from_utf8(t).ok()?))
    {
        return Test::Cidr([range].into());
    }
    Test::Compare(op, convert(ty, constant))
}

fn wildcards(
    patterns: &[(String, Span)],
    syntax: PatternSyntax,
    fold: bool,
) -> impl Iterator<Item = Wildcard> {
    let make = if syntax == PatternSyntax::Star { Wildcard::star } else { Wildcard::new };
    patterns.iter().map(move |(p, _)| make(p, fold))
}

/// Patterns without wildcards become one set.
fn like_test(patterns: &[(String, Span)], syntax: PatternSyntax, fold: bool) -> Test {
    if patterns.iter().any(|(p, _)| p.contains('*') || syntax == PatternSyntax::Wildcard && p.contains('?')) {
        return Test::Like(Box::new(Patterns::new(wildcards(patterns, syntax, fold).collect())));
    }
    let texts = patterns.iter().map(|(p, _)| Out::Text(p.clone().into_bytes().into())).collect();
    Test::OneOf(OneOf::new(texts, fold))
}

fn ty_of_gives(gives: Gives) -> Ty {
    match gives {
        Gives::Bool => Ty::Bool,
        Gives::Number => Ty::Number,
        Gives::Text => Ty::Text,
    }
}
