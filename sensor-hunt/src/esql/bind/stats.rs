//! `stats` and `inline stats`.

use sensor_eql::{Diagnostic, Span};

use super::{Aggregating, Binder, Bound, Entry, Place};
use crate::esql::ast::{Assign, Expr, Kind, Name};
use crate::esql::bound::{Aggregate, Node, Op, Reduce, Step};
use crate::esql::outcome::Type;
use crate::esql::value::Val;

/// Which aggregate a name is.
pub(super) fn reduce_of(name: &str) -> Option<Reduce> {
    Some(match name {
        "count" => Reduce::Count,
        "count_distinct" => Reduce::CountDistinct,
        "values" => Reduce::Values,
        "min" => Reduce::Min,
        "max" => Reduce::Max,
        "sum" => Reduce::Sum,
        "avg" => Reduce::Avg,
        "median" | "percentile" => Reduce::Percentile,
        "median_absolute_deviation" => Reduce::MedianDeviation,
        "std_dev" | "stddev" => Reduce::StdDev,
        "variance" => Reduce::Variance,
        "top" => Reduce::Top,
        "present" => Reduce::Present,
        "absent" => Reduce::Absent,
        "first" => Reduce::First,
        "last" => Reduce::Last,
        _ => return None,
    })
}

impl Binder {
    pub(super) fn stats(&mut self, aggregates: &[Assign], by: &[Assign], inline: bool) -> Bound<()> {
        let mut groups = Vec::new();
        let mut keys = Vec::new();
        for assign in by {
            let node = self.expr(&assign.expr)?;
            if node.ty == Type::Period {
                return Err(Diagnostic::error(node.span, "a span of time cannot be grouped by"));
            }
            let slot = self.slot();
            groups.retain(|entry: &Entry| entry.name != assign.name.text);
            groups.push(Entry { name: assign.name.text.clone(), ty: node.ty, place: Place::Slot(slot) });
            keys.push((slot, node));
        }
        self.aggregating = Some(Aggregating { groups, ..Aggregating::default() });
        let mut results: Vec<(String, Node)> = Vec::new();
        for assign in aggregates {
            let filter = match &assign.filter {
                None => None,
                Some(filter) => Some(self.within(|binder| {
                    let node = binder.expr(filter)?;
                    binder.boolean(&node)?;
                    Ok(node)
                })?),
            };
            if let Some(aggregating) = &mut self.aggregating {
                aggregating.filter = filter;
            }
            let node = self.expr(&assign.expr)?;
            if !has_aggregate(&assign.expr) {
                let found = Diagnostic::error(assign.expr.span, "this is no aggregate");
                return Err(
                    found.help("`count()`, `count_distinct(f)`, `values(f)`, `min(f)`, `max(f)`, ...")
                );
            }
            results.retain(|(name, _)| *name != assign.name.text);
            results.push((assign.name.text.clone(), node));
        }
        let Aggregating { aggregates, groups, .. } = self.aggregating.take().unwrap_or_default();
        self.steps.push(Step::Aggregate { aggregates, by: keys, inline });
        let mut defined = Vec::new();
        for (name, node) in results {
            let slot = match node.op {
                Op::Slot(slot) => slot,
                _ => {
                    let slot = self.slot();
                    self.steps.push(Step::Eval(slot, node.clone()));
                    slot
                }
            };
            defined.push((name, node.ty, slot));
        }
        if inline {
            for (assign, entry) in by.iter().zip(&groups) {
                if !matches!(assign.expr.kind, Kind::Field(_))
                    && let Place::Slot(slot) = entry.place
                {
                    self.define(&entry.name, entry.ty, slot);
                }
            }
        } else {
            self.scope.clear();
        }
        for (name, ty, slot) in defined {
            self.define(&name, ty, slot);
        }
        if !inline {
            for entry in groups {
                if let Place::Slot(slot) = entry.place {
                    self.define(&entry.name, entry.ty, slot);
                }
            }
        }
        Ok(())
    }

    /// Binds something that sees the rows and not the groups.
    fn within<T>(&mut self, bind: impl FnOnce(&mut Self) -> Bound<T>) -> Bound<T> {
        let before = self.aggregating.as_mut().map(|it| std::mem::replace(&mut it.inside, true));
        let bound = bind(self);
        if let (Some(aggregating), Some(before)) = (&mut self.aggregating, before) {
            aggregating.inside = before;
        }
        bound
    }

    pub(super) fn aggregate(
        &mut self,
        reduce: Reduce,
        name: &Name,
        args: &[Expr],
        span: Span,
    ) -> Bound<Node> {
        match &self.aggregating {
            None => {
                let found = Diagnostic::error(name.span, format!("`{}` is an aggregate", name.text));
                return Err(found.because("it can only stand in `stats`"));
            }
            Some(aggregating) if aggregating.inside => {
                return Err(Diagnostic::error(name.span, "an aggregate cannot stand within another"));
            }
            Some(_) => {}
        }
        // The precision of `count_distinct` is taken and not used: it is exact up to the greatest one.
        let (least, most) = match (reduce, name.text.as_str()) {
            (Reduce::Count, _) => (0, 1),
            (Reduce::CountDistinct, _) => (1, 2),
            (Reduce::Percentile, "percentile") | (Reduce::First | Reduce::Last, _) => (2, 2),
            (Reduce::Top, _) => (2, 3),
            _ => (1, 1),
        };
        if !(least..=most).contains(&args.len()) {
            let count = if least == most { least.to_string() } else { format!("{least} to {most}") };
            let text = format!("`{}` needs {count} arguments, not {}", name.text, args.len());
            return Err(Diagnostic::error(span, text));
        }
        let (number, descending) = self.settings(reduce, args)?;
        let input = match args.first() {
            None => None,
            Some(arg) if matches!(arg.kind, Kind::Star) && reduce == Reduce::Count => None,
            Some(arg) => Some(self.within(|binder| binder.expr(arg))?),
        };
        let by = match args.get(1) {
            Some(arg) if matches!(reduce, Reduce::First | Reduce::Last) => {
                let by = self.within(|binder| binder.expr(arg))?;
                if by.ty == Type::Period {
                    return Err(Diagnostic::error(by.span, "rows cannot be ordered by a span of time"));
                }
                Some(by)
            }
            _ => None,
        };
        let of = input.as_ref().map_or(Type::Null, |node| node.ty);
        let ty = match reduce {
            Reduce::Count | Reduce::CountDistinct => Type::Long,
            Reduce::Values | Reduce::Min | Reduce::Max | Reduce::Top | Reduce::First | Reduce::Last => of,
            Reduce::Present | Reduce::Absent => Type::Boolean,
            Reduce::Avg
            | Reduce::Percentile
            | Reduce::MedianDeviation
            | Reduce::StdDev
            | Reduce::Variance => Type::Double,
            Reduce::Sum if of == Type::Double => Type::Double,
            Reduce::Sum => Type::Long,
        };
        let summable = of.is_number() || of == Type::Null;
        let of_numbers = !matches!(
            reduce,
            Reduce::Count
                | Reduce::CountDistinct
                | Reduce::Values
                | Reduce::Min
                | Reduce::Max
                | Reduce::Top
                | Reduce::Present
                | Reduce::Absent
                | Reduce::First
                | Reduce::Last
        );
        if of == Type::Period || (of_numbers && !summable) {
            let text = format!("`{}` cannot be made of [{}]", name.text, of.name());
            return Err(Diagnostic::error(input.map_or(span, |node| node.span), text));
        }
        let slot = self.slot();
        if let Some(aggregating) = &mut self.aggregating {
            let filter = aggregating.filter.clone();
            aggregating.aggregates.push(Aggregate {
                reduce,
                input,
                by,
                filter,
                number,
                descending,
                ty,
                slot,
                span,
            });
        }
        Ok(Self::slot_node(ty, slot, span))
    }
}

impl Binder {
    /// Which percentile, or how many and from which end, which must be said by constants.
    fn settings(&mut self, reduce: Reduce, args: &[Expr]) -> Bound<(f64, bool)> {
        let number = match (reduce, args.get(1)) {
            (Reduce::Percentile, None) => return Ok((50.0, false)),
            (Reduce::Percentile | Reduce::Top, Some(arg)) => {
                let node = self.within(|binder| binder.expr(arg))?;
                let number = node.as_const().and_then(Val::as_double);
                let fits = |number: &f64| match reduce {
                    Reduce::Top => *number >= 1.0 && number.fract() == 0.0,
                    _ => (0.0..=100.0).contains(number),
                };
                let wanted =
                    if reduce == Reduce::Top { "a whole number from 1" } else { "a number from 0 to 100" };
                number
                    .filter(fits)
                    .ok_or_else(|| Diagnostic::error(arg.span, format!("this must be {wanted}")))?
            }
            _ => return Ok((0.0, false)),
        };
        let Some(arg) = args.get(2) else { return Ok((number, false)) };
        let node = self.within(|binder| binder.expr(arg))?;
        let order = node.as_const().and_then(Val::as_text).map(str::to_ascii_lowercase);
        match order.as_deref() {
            Some("asc") => Ok((number, false)),
            Some("desc") => Ok((number, true)),
            _ => Err(Diagnostic::error(arg.span, "the order is \"asc\" or \"desc\"")),
        }
    }
}

fn has_aggregate(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Call(name, args) => reduce_of(&name.text).is_some() || args.iter().any(has_aggregate),
        Kind::Cast(inner, _) | Kind::Negate(inner) | Kind::IsNull(inner) | Kind::Not(inner) => {
            has_aggregate(inner)
        }
        Kind::Arith(_, left, right) | Kind::Compare(_, left, right) => {
            has_aggregate(left) || has_aggregate(right)
        }
        Kind::And(all) | Kind::Or(all) | Kind::List(all) => all.iter().any(has_aggregate),
        Kind::In(inner, all) | Kind::Like(inner, all, _) => {
            has_aggregate(inner) || all.iter().any(has_aggregate)
        }
        _ => false,
    }
}
