//! Expressions to typed ones.

use sensor_eql::{Diagnostic, Span};

use super::call::common;
use super::{Binder, Bound, Place};
use crate::esql::ast::{Arith, Compare, Expr, Kind, Name, Unit};
use crate::esql::bound::{Node, Op};
use crate::esql::functions::{boolean_of, date_of, find};
use crate::esql::outcome::Type;
use crate::esql::parse::unit;
use crate::esql::value::{Val, canonical_ip};

impl Binder {
    pub(super) fn expr(&mut self, expr: &Expr) -> Bound<Node> {
        let span = expr.span;
        let constant = |value, ty| Ok(Node::constant(value, ty, span));
        match &expr.kind {
            Kind::Null => constant(Val::Null, Type::Null),
            Kind::Boolean(value) => constant(Val::Boolean(*value), Type::Boolean),
            Kind::Long(value) => {
                let ty = if i32::try_from(*value).is_ok() { Type::Integer } else { Type::Long };
                constant(Val::Long(*value), ty)
            }
            Kind::Double(value) => constant(Val::Double(*value), Type::Double),
            Kind::Text(text) => constant(Val::text(text.clone()), Type::Keyword),
            Kind::Time(count, unit) => constant(period(*count, *unit), Type::Period),
            Kind::Star => Err(Diagnostic::error(span, "`*` can only stand in `count(*)`")),
            Kind::List(items) => self.list(items, span),
            Kind::Field(name) => self.field(name, span),
            Kind::Call(name, args) => self.call(name, args, span),
            Kind::Cast(inner, ty) => {
                let node = self.expr(inner)?;
                Self::cast(node, ty, span)
            }
            Kind::Negate(inner) => {
                let node = self.expr(inner)?;
                if !node.ty.is_number() && !matches!(node.ty, Type::Period | Type::Null) {
                    return Err(Diagnostic::error(node.span, format!("[{}] has no sign", node.ty.name())));
                }
                Ok(Node { ty: node.ty, op: Op::Negate(Box::new(node)), span })
            }
            Kind::Arith(op, left, right) => self.arith(*op, left, right, span),
            Kind::Compare(op, left, right) => {
                let (mut left, mut right) = (self.expr(left)?, self.expr(right)?);
                Self::comparable(&mut left, &mut right)?;
                if left.ty == Type::Boolean && !matches!(op, Compare::Eq | Compare::Ne) {
                    return Err(Diagnostic::error(span, "[boolean] has no order"));
                }
                let op = Op::Compare(*op, Box::new(left), Box::new(right));
                Ok(Node { op, ty: Type::Boolean, span })
            }
            Kind::In(left, items) => {
                let mut left = self.expr(left)?;
                let mut nodes = Vec::new();
                for item in items {
                    let mut node = self.expr(item)?;
                    Self::comparable(&mut left, &mut node)?;
                    nodes.push(node);
                }
                Ok(Node { op: Op::In(Box::new(left), nodes), ty: Type::Boolean, span })
            }
            Kind::Like(left, patterns, regex) => self.like(left, patterns, *regex, span),
            Kind::IsNull(inner) => {
                let node = self.expr(inner)?;
                Ok(Node { op: Op::IsNull(Box::new(node)), ty: Type::Boolean, span })
            }
            Kind::Not(inner) => {
                let node = self.expr(inner)?;
                self.boolean(&node)?;
                Ok(Node { op: Op::Not(Box::new(node)), ty: Type::Boolean, span })
            }
            Kind::And(terms) => Ok(Node { op: Op::And(self.conditions(terms)?), ty: Type::Boolean, span }),
            Kind::Or(terms) => Ok(Node { op: Op::Or(self.conditions(terms)?), ty: Type::Boolean, span }),
        }
    }

    fn conditions(&mut self, terms: &[Expr]) -> Bound<Vec<Node>> {
        let mut nodes = Vec::new();
        for term in terms {
            let node = self.expr(term)?;
            self.boolean(&node)?;
            nodes.push(node);
        }
        Ok(nodes)
    }

    fn list(&mut self, items: &[Expr], span: Span) -> Bound<Node> {
        let (mut values, mut ty) = (Vec::new(), Type::Null);
        if items.is_empty() {
            return Err(Diagnostic::error(span, "a list holds at least one value").help("`null` is no value"));
        }
        for item in items {
            match item.kind {
                Kind::Null => return Err(Diagnostic::error(item.span, "a list does not hold null")),
                Kind::List(_) => return Err(Diagnostic::error(item.span, "a list does not hold lists")),
                _ => {}
            }
            let node = self.expr(item)?;
            let shared = common(ty, node.ty)
                .ok_or_else(|| Diagnostic::error(node.span, "the values of a list must be of one type"))?;
            ty = shared;
            match node.as_const() {
                Some(value) => values.push(value.clone()),
                None => match &node.op {
                    Op::Negate(_) => return Err(Diagnostic::error(node.span, "a list holds constants only")),
                    _ => return Err(Diagnostic::error(node.span, "a list holds constants only")),
                },
            }
        }
        // One value with a point makes all of them such.
        if ty == Type::Double {
            values.iter_mut().for_each(|value| *value = value.as_double().map_or(Val::Null, Val::Double));
        }
        Ok(Node::constant(Val::from_items(values), ty, span))
    }

    fn field(&mut self, name: &str, span: Span) -> Bound<Node> {
        if let Some(aggregating) = &self.aggregating
            && !aggregating.inside
        {
            let group = aggregating.groups.iter().find(|entry| entry.name == name);
            return match group.map(|entry| (entry.ty, entry.place)) {
                Some((ty, Place::Slot(slot))) => Ok(Self::slot_node(ty, slot, span)),
                _ => {
                    let found =
                        Diagnostic::error(span, format!("[{name}] is neither aggregated nor grouped by"));
                    Err(found.help(format!("`values({name})`, or `by {name}`")))
                }
            };
        }
        match self.find(name) {
            Some((ty, slot)) => Ok(Self::slot_node(ty, slot, span)),
            None => Err(self.unknown(name, span)),
        }
    }

    /// A string constant where another type is needed is read as one of that type.
    pub(super) fn literal_as(node: &mut Node, ty: Type) -> Bound<()> {
        let Some(text) = node.as_const().and_then(Val::as_text) else { return Ok(()) };
        let value = match ty {
            Type::Date => date_of(text).map(Val::Date),
            Type::Ip => canonical_ip(text).map(Val::text),
            Type::Period => period_of(text),
            Type::Boolean => Some(Val::Boolean(boolean_of(text))),
            _ => return Ok(()),
        };
        let Some(value) = value else {
            return Err(Diagnostic::error(node.span, format!("this cannot be read as [{}]", ty.name())));
        };
        node.op = Op::Const(value);
        node.ty = ty;
        Ok(())
    }

    fn comparable(left: &mut Node, right: &mut Node) -> Bound<()> {
        let (left_ty, right_ty) = (left.ty, right.ty);
        Self::literal_as(right, left_ty)?;
        Self::literal_as(left, right_ty)?;
        if left.ty == Type::Period || common(left.ty, right.ty).is_none() {
            let text = format!("[{}] cannot be compared with [{}]", left.ty.name(), right.ty.name());
            return Err(Diagnostic::error(right.span, text));
        }
        Ok(())
    }

    fn arith(&mut self, op: Arith, left: &Expr, right: &Expr, span: Span) -> Bound<Node> {
        let (mut left, mut right) = (self.expr(left)?, self.expr(right)?);
        if left.ty == Type::Date {
            Self::literal_as(&mut right, Type::Period)?;
        } else if right.ty == Type::Date {
            Self::literal_as(&mut left, Type::Period)?;
        }
        let ty = match (left.ty, right.ty, op) {
            (Type::Date, Type::Period, Arith::Add | Arith::Sub) | (Type::Period, Type::Date, Arith::Add) => {
                Type::Date
            }
            (Type::Period, Type::Period, Arith::Add | Arith::Sub) => Type::Period,
            (Type::Null, ty, _) | (ty, Type::Null, _)
                if !matches!(ty, Type::Keyword | Type::Ip | Type::Boolean) =>
            {
                ty
            }
            (left_ty, right_ty, _) if left_ty.is_number() && right_ty.is_number() => {
                common(left_ty, right_ty).unwrap_or(Type::Double)
            }
            (left_ty, right_ty, _) => {
                let text = format!("no such operation on [{}] and [{}]", left_ty.name(), right_ty.name());
                return Err(Diagnostic::error(span, text));
            }
        };
        Ok(Node { op: Op::Arith(op, Box::new(left), Box::new(right)), ty, span })
    }

    fn cast(node: Node, ty: &Name, span: Span) -> Bound<Node> {
        let name = match ty.text.to_ascii_lowercase().as_str() {
            "string" | "keyword" | "text" => "to_string",
            "long" => "to_long",
            "int" | "integer" => "to_integer",
            "double" => "to_double",
            "bool" | "boolean" => "to_boolean",
            "date" | "datetime" => "to_datetime",
            "ip" => "to_ip",
            other => {
                let found = Diagnostic::error(ty.span, format!("a cast to `{other}` is not supported"));
                return Err(found.help("string, long, integer, double, boolean, datetime and ip are"));
            }
        };
        let function = find(name).map_err(|(text, _)| Diagnostic::error(ty.span, text))?;
        Self::apply(function, vec![node], span)
    }
}

fn period(count: i64, unit: Unit) -> Val<'static> {
    match unit {
        Unit::Millis(unit) => Val::Period(count.saturating_mul(unit), 0),
        Unit::Months(unit) => Val::Period(0, count.saturating_mul(unit)),
    }
}

/// `1 day`, as a string.
fn period_of(text: &str) -> Option<Val<'static>> {
    let (count, word) = text.trim().split_once(char::is_whitespace)?;
    Some(period(count.parse().ok()?, unit(word.trim())?))
}
