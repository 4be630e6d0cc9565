//! Expressions over batches: three-valued logic, single values, warnings.
//!
//! What needs one column of text only is evaluated once for each entry of its dictionary, not for each row.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow_array::{Array as _, StringArray};
use sensor_eql::Span;

use super::ast::{Arith, Compare};
use super::bound::{Has, Node, Op, Pattern, Slot};
use super::functions::{Env, Meets, shift};
use super::outcome::Type;
use super::texts::Test;
use super::value::{Val, order};
use super::vector::{Builder, Data, NONE, Vector, borrow, entry};

/// What Elasticsearch says of a field with several values where one is needed.
const SEVERAL: &str = "single-value function encountered multi-value";

/// Why expressions had no value, by where they stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Warnings {
    /// What failed, by the place in the text and the cause: how often.
    pub(super) failed: BTreeMap<(u32, u32, &'static str), u64>,
    /// Negations that were neither true nor false for want of a column's value, by their place: of how many rows.
    pub(super) undecided: BTreeMap<(u32, u32, Slot), u64>,
}

impl Warnings {
    fn add(&mut self, span: Span, cause: &'static str) {
        *self.failed.entry((span.start, span.end, cause)).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (key, count) in other.failed {
            *self.failed.entry(key).or_default() += count;
        }
        for (key, count) in other.undecided {
            *self.undecided.entry(key).or_default() += count;
        }
    }
}

/// What an evaluation knows.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) now_ms: i64,
    pub(super) warnings: RefCell<Warnings>,
}

/// A row of a batch; of a column of text, an entry of its dictionary instead.
#[derive(Clone, Copy)]
struct Row<'a> {
    columns: &'a [Option<Vector>],
    row: usize,
    code: Option<u32>,
}

impl<'a> Row<'a> {
    fn value(self, slot: Slot) -> Val<'a> {
        let Some(Some(vector)) = self.columns.get(slot) else { return Val::Null };
        match (self.code, &vector.data) {
            (Some(code), Data::Text(_, dictionary)) => {
                entry(dictionary, code).map_or(Val::Null, |text| Val::Text(text.into()))
            }
            _ => vector.get(self.row),
        }
    }
}

/// One value for each row.
pub(super) fn evaluate(node: &Node, columns: &[Option<Vector>], rows: usize, context: &Context) -> Vector {
    if let Op::Slot(slot) = node.op {
        return columns.get(slot).cloned().flatten().unwrap_or_else(|| Vector::nulls(node.ty, rows));
    }
    if let Some(value) = node.as_const() {
        return Vector { ty: node.ty, data: Data::Same(value.clone(), rows) };
    }
    // A call and a choice may have several values; the others are conditions.
    if node.ty == Type::Boolean && !matches!(node.op, Op::Call(..) | Op::Case(..)) {
        return Vector { ty: Type::Boolean, data: Data::Boolean(truths(node, columns, rows, context)) };
    }
    let mut builder = Builder::new(node.ty);
    if let Some((codes, _)) = sole_text(node, columns) {
        let mut known: Vec<Option<Val<'_>>> = Vec::new();
        for (row, code) in codes.iter().enumerate() {
            let at = if *code == NONE { 0 } else { *code as usize + 1 };
            if known.len() <= at {
                known.resize(at + 1, None);
            }
            if let Some(place) = known.get_mut(at) {
                let value =
                    place.get_or_insert_with(|| context.value(node, Row { columns, row, code: Some(*code) }));
                builder.push(value);
            }
        }
        return builder.finish();
    }
    for row in 0..rows {
        builder.push(&context.value(node, Row { columns, row, code: None }));
    }
    builder.finish()
}

/// The only column that the expression needs, if it is one of text.
fn sole_text<'a>(node: &Node, columns: &'a [Option<Vector>]) -> Option<(&'a [u32], &'a StringArray)> {
    let slots = node.slots();
    let [slot] = slots.as_slice() else { return None };
    match &columns.get(*slot)?.as_ref()?.data {
        Data::Text(codes, dictionary) => Some((codes, dictionary)),
        _ => None,
    }
}

/// A condition for each row.
pub(super) fn truths(
    node: &Node,
    columns: &[Option<Vector>],
    rows: usize,
    context: &Context,
) -> Vec<Option<bool>> {
    if let Some((codes, dictionary)) = sole_text(node, columns) {
        if let Some(test) = Test::of(node) {
            return by_code(codes, dictionary.len(), |_, code| test.truth(entry(dictionary, code)));
        }
        let value = |row, code| truth(&context.value(node, Row { columns, row, code: Some(code) }));
        return by_code(codes, dictionary.len(), value);
    }
    let combine = |terms: &[Node], decided: bool| {
        let mut all = vec![Some(!decided); rows];
        for term in terms {
            for (one, other) in all.iter_mut().zip(truths(term, columns, rows, context)) {
                *one = connect(*one, other, decided);
            }
        }
        all
    };
    match &node.op {
        Op::And(terms) => combine(terms, false),
        Op::Or(terms) => combine(terms, true),
        Op::Not(inner) => {
            let mut all = truths(inner, columns, rows, context);
            all.iter_mut().for_each(|one| *one = one.map(|truth| !truth));
            all
        }
        Op::Const(value) => vec![truth(value); rows],
        _ => {
            if let Some(all) = compare_whole(node, columns) {
                return all;
            }
            (0..rows).map(|row| truth(&context.value(node, Row { columns, row, code: None }))).collect()
        }
    }
}

/// The truth of each row, found once for each code.
fn by_code(
    codes: &[u32],
    entries: usize,
    mut truth_of: impl FnMut(usize, u32) -> Option<bool>,
) -> Vec<Option<bool>> {
    // The last place is that of null.
    let mut known: Vec<Option<Option<bool>>> = vec![None; entries + 1];
    let mut out = Vec::with_capacity(codes.len());
    for (row, code) in codes.iter().enumerate() {
        let Some(place) = known.get_mut((*code as usize).min(entries)) else { continue };
        out.push(*place.get_or_insert_with(|| truth_of(row, *code)));
    }
    out
}

/// A column of whole numbers or dates against a constant.
fn compare_whole(node: &Node, columns: &[Option<Vector>]) -> Option<Vec<Option<bool>>> {
    let Op::Compare(op, left, right) = &node.op else { return None };
    let Op::Slot(slot) = left.op else { return None };
    let bound = match right.as_const()? {
        Val::Long(bound) | Val::Date(bound) => *bound,
        _ => return None,
    };
    let Data::Long(values, None) = &columns.get(slot)?.as_ref()?.data else { return None };
    Some(values.iter().map(|value| Some(holds(*op, value.cmp(&bound)))).collect())
}

pub(super) fn holds(op: Compare, ordering: Ordering) -> bool {
    match op {
        Compare::Eq => ordering.is_eq(),
        Compare::Ne => ordering.is_ne(),
        Compare::Lt => ordering.is_lt(),
        Compare::Le => ordering.is_le(),
        Compare::Gt => ordering.is_gt(),
        Compare::Ge => ordering.is_ge(),
    }
}

/// `and` is decided by false, `or` by true; null is neither.
pub(super) fn connect(left: Option<bool>, right: Option<bool>, decided: bool) -> Option<bool> {
    if left == Some(decided) || right == Some(decided) {
        Some(decided)
    } else if left.is_none() || right.is_none() {
        None
    } else {
        Some(!decided)
    }
}

fn truth(value: &Val<'_>) -> Option<bool> {
    match value {
        Val::Boolean(truth) => Some(*truth),
        _ => None,
    }
}

fn from_truth(truth: Option<bool>) -> Val<'static> {
    truth.map_or(Val::Null, Val::Boolean)
}

/// A constant expression's value.
pub(super) fn constant(node: &Node, context: &Context) -> Val<'static> {
    context.value(node, Row { columns: &[], row: 0, code: None }).into_owned()
}

impl Context {
    pub(super) fn warn(&self, span: Span, cause: &'static str) {
        self.warnings.borrow_mut().add(span, cause);
    }

    /// Null for several values, which are warned about.
    fn single<'a>(&self, value: Val<'a>, span: Span) -> Val<'a> {
        if matches!(value, Val::List(_)) {
            self.warn(span, SEVERAL);
            return Val::Null;
        }
        value
    }

    fn part<'a>(&self, node: &'a Node, whole: &Node, row: Row<'a>) -> Val<'a> {
        self.single(self.value(node, row), whole.span)
    }

    fn value<'a>(&self, node: &'a Node, row: Row<'a>) -> Val<'a> {
        match &node.op {
            Op::Const(value) => borrow(value),
            Op::Now => Val::Date(self.now_ms),
            Op::Slot(slot) => row.value(*slot),
            Op::And(terms) => from_truth(self.all(terms, node, row, false)),
            Op::Or(terms) => from_truth(self.all(terms, node, row, true)),
            Op::Not(inner) => from_truth(truth(&self.part(inner, node, row)).map(|truth| !truth)),
            Op::Negate(inner) => match self.part(inner, node, row) {
                Val::Long(number) => self.whole(number.checked_neg(), node),
                Val::Double(number) => Val::Double(-number),
                Val::Period(ms, months) => Val::Period(ms.saturating_neg(), months.saturating_neg()),
                _ => Val::Null,
            },
            Op::Arith(op, left, right) => {
                let (left, right) = (self.part(left, node, row), self.part(right, node, row));
                self.arith(*op, &left, &right, node)
            }
            Op::Compare(op, left, right) => {
                let (left_value, right_value) = (self.part(left, node, row), self.part(right, node, row));
                let ordering = order(&left_value, &right_value, left.ty);
                from_truth(ordering.map(|ordering| holds(*op, ordering)))
            }
            Op::In(left, items) => self.is_in(left, items, node, row),
            Op::Match(inner, patterns) => match self.part(inner, node, row) {
                Val::Text(text) => Val::Boolean(patterns.iter().any(|pattern| pattern.matches(&text))),
                _ => Val::Null,
            },
            Op::Cidr(inner, ranges) => match self.part(inner, node, row) {
                Val::Text(text) => text.parse().map_or(Val::Null, |address| {
                    Val::Boolean(ranges.iter().any(|range| range.contains(address)))
                }),
                _ => Val::Null,
            },
            Op::Has(inner, has) => {
                Val::Boolean(self.value(inner, row).items().iter().any(|value| has.holds(value, inner.ty)))
            }
            Op::Replace(inner, regex, by) => {
                let (text, by) = (self.part(inner, node, row), self.part(by, node, row));
                match (text.as_text(), by.as_text()) {
                    (Some(text), Some(by)) => match super::replace::replace_all(regex, text, by) {
                        Ok(text) => Val::text(text),
                        Err(cause) => self.failed(node, cause),
                    },
                    _ => Val::Null,
                }
            }
            Op::IsNull(inner) => Val::Boolean(self.value(inner, row).is_null()),
            Op::Case(pairs, other) => {
                for (condition, value) in pairs {
                    if truth(&self.part(condition, node, row)) == Some(true) {
                        return self.value(value, row);
                    }
                }
                other.as_ref().map_or(Val::Null, |other| self.value(other, row))
            }
            Op::Call(function, nodes) => {
                let of = nodes.first().map_or(Type::Null, |node| node.ty);
                let env = Env { ty: node.ty, of };
                let mut args: Vec<Val<'a>> = nodes.iter().map(|arg| self.value(arg, row)).collect();
                if function.meets == Meets::Each
                    && let Some(Val::List(items)) = args.first_mut()
                {
                    let items = std::mem::take(items);
                    let done =
                        items.into_iter().map(|item| self.done((function.eval)(env, vec![item]), node));
                    return Val::from_items(done.filter(|value| !value.is_null()).collect());
                }
                if function.meets != Meets::All {
                    if args.iter().any(|arg| matches!(arg, Val::List(_))) {
                        return self.failed(node, SEVERAL);
                    }
                    if args.iter().any(Val::is_null) {
                        return Val::Null;
                    }
                }
                self.done((function.eval)(env, args), node)
            }
        }
    }

    fn done<'a>(&self, result: Result<Val<'a>, &'static str>, node: &Node) -> Val<'a> {
        match result {
            Ok(Val::Long(number)) => self.whole(Some(number), node),
            Ok(value) => value,
            Err(cause) => self.failed(node, cause),
        }
    }

    /// A whole number that its type has room for.
    fn whole<'a>(&self, number: Option<i64>, node: &Node) -> Val<'a> {
        match number {
            Some(number) if node.ty != Type::Integer || i32::try_from(number).is_ok() => Val::Long(number),
            _ if node.ty == Type::Integer => self.failed(node, "integer overflow"),
            _ => self.overflow(node),
        }
    }

    fn failed<'a>(&self, node: &Node, cause: &'static str) -> Val<'a> {
        self.warn(node.span, cause);
        Val::Null
    }

    fn overflow<'a>(&self, node: &Node) -> Val<'a> {
        self.failed(node, "long overflow")
    }

    fn all(&self, terms: &[Node], node: &Node, row: Row<'_>, decided: bool) -> Option<bool> {
        let mut so_far = Some(!decided);
        for term in terms {
            so_far = connect(so_far, truth(&self.part(term, node, row)), decided);
            if so_far == Some(decided) {
                break;
            }
        }
        so_far
    }

    fn is_in<'a>(&self, left: &'a Node, items: &'a [Node], node: &Node, row: Row<'a>) -> Val<'a> {
        let value = self.part(left, node, row);
        if value.is_null() {
            return Val::Null;
        }
        let mut unknown = false;
        for item in items {
            let other = self.part(item, node, row);
            match order(&value, &other, left.ty) {
                Some(Ordering::Equal) => return Val::Boolean(true),
                Some(_) => {}
                None => unknown = true,
            }
        }
        if unknown { Val::Null } else { Val::Boolean(false) }
    }

    fn arith<'a>(&self, op: Arith, left: &Val<'_>, right: &Val<'_>, node: &Node) -> Val<'a> {
        let minus = op == Arith::Sub;
        match (left, right) {
            (Val::Long(a), Val::Long(b)) => {
                let result = match op {
                    Arith::Add => a.checked_add(*b),
                    Arith::Sub => a.checked_sub(*b),
                    Arith::Mul => a.checked_mul(*b),
                    Arith::Div | Arith::Mod if *b == 0 => return self.failed(node, "/ by zero"),
                    Arith::Div => a.checked_div(*b),
                    Arith::Mod => a.checked_rem(*b),
                };
                self.whole(result, node)
            }
            (Val::Date(ms), Val::Period(span, months)) | (Val::Period(span, months), Val::Date(ms)) => {
                let sign = if minus { -1 } else { 1 };
                let moved = shift(*ms, span.saturating_mul(sign), months.saturating_mul(sign));
                moved.map_or_else(|| self.overflow(node), Val::Date)
            }
            (Val::Period(a, b), Val::Period(c, d)) => {
                let sign = if minus { -1 } else { 1 };
                Val::Period(
                    a.saturating_add(c.saturating_mul(sign)),
                    b.saturating_add(d.saturating_mul(sign)),
                )
            }
            _ => {
                let (Some(a), Some(b)) = (left.as_double(), right.as_double()) else { return Val::Null };
                let result = match op {
                    Arith::Add => a + b,
                    Arith::Sub => a - b,
                    Arith::Mul => a * b,
                    Arith::Div => a / b,
                    Arith::Mod => a % b,
                };
                if result.is_finite() {
                    Val::Double(result)
                } else {
                    self.failed(node, "not a finite double number")
                }
            }
        }
    }
}

impl Has {
    fn holds(&self, value: &Val<'_>, ty: Type) -> bool {
        let text = || value.as_text().unwrap_or_default();
        match self {
            Self::Is(wanted) => wanted.iter().any(|one| order(value, one, ty) == Some(Ordering::Equal)),
            Self::Like(patterns) => patterns.iter().any(|pattern| pattern.matches(text())),
            Self::Order(op, bound) => order(value, bound, ty).is_some_and(|ordering| holds(*op, ordering)),
            Self::Within(ranges) => {
                text().parse().is_ok_and(|address| ranges.iter().any(|range| range.contains(address)))
            }
        }
    }
}

impl Pattern {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Wildcard(wildcard) => wildcard.matches(text.as_bytes()),
            Self::Regex(regex) => regex.matches(text.as_bytes()),
        }
    }
}
