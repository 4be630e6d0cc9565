//! Computed values: functions, arithmetic, and conditions used as values.

use super::{Known, Lower, Ty, literal, ty_of_gives, wildcards};
use crate::ast::{CompareOp, Expr, ExprKind, PatternSyntax};
use crate::diag::nearest;
use crate::func::{Func, Signature, Takes};
use crate::ir::Node;
use crate::like::Patterns;
use crate::net::Cidr;
use crate::value::Out;
use crate::wild::Wildcard;

impl Lower<'_> {
    /// Lowers a value; its fields are added to the current script.
    pub(super) fn node(&mut self, e: &Expr) -> (Node, Ty) {
        if let Some(constant) = literal(e) {
            let ty = super::literal_ty(&constant);
            return (Node::Const(constant), ty);
        }
        match &e.kind {
            ExprKind::Null
            | ExprKind::Bool(_)
            | ExprKind::Integer(_)
            | ExprKind::Decimal(_)
            | ExprKind::Text(_) => (Node::Const(Out::Null), Ty::Unknown),
            ExprKind::Field { name, optional } => match self.resolve(name, *optional, e.span) {
                Known::Nothing => (Node::Const(Out::Null), Ty::Unknown),
                Known::Field(field) => {
                    let slot = self.script.iter().position(|f| *f == field.id).unwrap_or_else(|| {
                        self.script.push(field.id);
                        self.script.len() - 1
                    });
                    (Node::Field(slot), Ty::of(field.ty))
                }
            },
            ExprKind::Negate(inner) => {
                let inner = self.number(inner);
                (Node::Negate(Box::new(inner)), Ty::Number)
            }
            ExprKind::Arithmetic(op, l, r) => {
                let (l, r) = (self.number(l), self.number(r));
                (Node::Arithmetic(*op, Box::new(l), Box::new(r)), Ty::Number)
            }
            ExprKind::Compare(op, l, r) => (self.compare_node(*op, l, r, e), Ty::Bool),
            ExprKind::In { value, list, insensitive } => {
                let (value_node, ty) = self.node(value);
                let list = list
                    .iter()
                    .map(|item| {
                        if matches!(item.kind, ExprKind::Field { .. }) {
                            self.error(item.span, "`in` takes literals, not fields");
                        }
                        let (node, item_ty) = self.node(item);
                        self.check_pair(CompareOp::Eq, ty, item_ty, value, item);
                        node
                    })
                    .collect();
                (Node::In { value: Box::new(value_node), list, fold: *insensitive }, Ty::Bool)
            }
            ExprKind::Match { value, patterns, syntax, insensitive } => {
                let (node, ty) = self.node(value);
                self.want_text(ty, value.span);
                let node = match syntax {
                    PatternSyntax::Wildcard | PatternSyntax::Star => {
                        let patterns = wildcards(patterns, *syntax, *insensitive).collect();
                        Node::Like(Box::new(node), Box::new(Patterns::new(patterns)))
                    }
                    PatternSyntax::Regex => match self.regexes(patterns, *syntax, *insensitive) {
                        Some(regex) => Node::Regex(Box::new(node), regex),
                        None => Node::Const(Out::Null),
                    },
                };
                (node, Ty::Bool)
            }
            ExprKind::Not(inner) => {
                let inner = self.boolean(inner);
                (Node::Not(Box::new(inner)), Ty::Bool)
            }
            ExprKind::And(items) => (Node::And(items.iter().map(|i| self.boolean(i)).collect()), Ty::Bool),
            ExprKind::Or(items) => (Node::Or(items.iter().map(|i| self.boolean(i)).collect()), Ty::Bool),
            ExprKind::Call { name, insensitive, args } => self.call(e, name, *insensitive, args),
        }
    }

    fn compare_node(&mut self, op: CompareOp, l: &Expr, r: &Expr, e: &Expr) -> Node {
        for (null, other) in [(r, l), (l, r)] {
            if self.reads_as_null(null) {
                let (node, _) = self.node(other);
                let is_null = Node::IsNull(Box::new(node));
                return match op {
                    CompareOp::Eq => is_null,
                    CompareOp::Ne => Node::Not(Box::new(is_null)),
                    _ => Node::Const(Out::Null),
                };
            }
        }
        if let (Some(Known::Field(_)), Some(Known::Field(_))) = (self.bare(l), self.bare(r)) {
            self.error(e.span, "a field cannot be compared with a field");
        }
        let (left, lty) = self.node(l);
        let (right, rty) = self.node(r);
        self.check_pair(op, lty, rty, l, r);
        Node::Compare(op, Box::new(left), Box::new(right))
    }

    fn number(&mut self, e: &Expr) -> Node {
        let (node, ty) = self.node(e);
        if !matches!(ty, Ty::Number | Ty::Unknown) {
            self.error(e.span, "arithmetic needs a number").cause = Some(format!("this is {}", ty.text()));
        }
        node
    }

    fn boolean(&mut self, e: &Expr) -> Node {
        let (node, ty) = self.node(e);
        self.want_bool(ty, e.span);
        node
    }

    fn call(&mut self, e: &Expr, name: &str, fold: bool, args: &[Expr]) -> (Node, Ty) {
        let nothing = (Node::Const(Out::Null), Ty::Unknown);
        let Some(signature) = Signature::find(name) else {
            let close = || nearest(name, Signature::names()).map(|c| format!("did you mean `{c}`?"));
            let help = instead_of(name).map(str::to_owned).or_else(close);
            self.error(e.span, format!("unknown function `{name}`")).help = help;
            return nothing;
        };
        if fold && !signature.folds {
            let d = self.error(e.span, format!("`{}` has no case-insensitive form", signature.name));
            d.help = Some("remove the `~`".to_owned());
            return nothing;
        }
        if !signature.accepts_count(args.len()) {
            let message = format!("`{}` takes {} arguments", signature.name, signature.counts());
            self.error(e.span, message).cause = Some(format!("{} given", args.len()));
            return nothing;
        }
        let mut nodes = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            nodes.push(self.argument(&signature, i, arg));
        }
        let ty = ty_of_gives(signature.gives());
        (self.build_call(&signature, fold, args, nodes), ty)
    }

    fn argument(&mut self, signature: &Signature, index: usize, arg: &Expr) -> Node {
        let (node, ty) = self.node(arg);
        let fits = match (signature.takes(index), ty) {
            (_, Ty::Unknown) | (Takes::Any, _) => true,
            (Takes::Literal, _) => matches!(arg.kind, ExprKind::Text(_)),
            (Takes::Text, ty) => matches!(ty, Ty::Text | Ty::Ip),
            (Takes::Number, ty) => ty == Ty::Number,
            (Takes::Bool, ty) => ty == Ty::Bool,
        };
        if !fits {
            let wanted = match signature.takes(index) {
                Takes::Text => "text",
                Takes::Literal => "a string, known in advance",
                Takes::Number => "a number",
                Takes::Bool => "true or false",
                Takes::Any => "anything",
            };
            let message = format!("argument {} of `{}` must be {wanted}", index + 1, signature.name);
            self.error(arg.span, message).cause = Some(format!("this is {}", ty.text()));
        }
        node
    }

    fn build_call(&mut self, signature: &Signature, fold: bool, args: &[Expr], nodes: Vec<Node>) -> Node {
        let texts = || {
            args.iter().skip(1).filter_map(|a| match &a.kind {
                ExprKind::Text(t) => Some((t.as_str(), a.span)),
                _ => None,
            })
        };
        match signature.func {
            Func::CidrMatch => {
                let mut ranges = Vec::new();
                for (text, span) in texts() {
                    match Cidr::parse(text) {
                        Some(range) => ranges.push(range),
                        None => {
                            self.error(span, format!("`{text}` is not an address range")).help =
                                Some("write an address or a range like 10.0.0.0/8".to_owned());
                        }
                    }
                }
                first(nodes, |value| Node::Cidr(value, ranges.into()))
            }
            Func::Wildcard => {
                let patterns = texts().map(|(t, _)| Wildcard::new(t, fold)).collect();
                first(nodes, |value| Node::Like(value, Box::new(Patterns::new(patterns))))
            }
            Func::Concat => Node::Concat(nodes.into()),
            func => Node::Call { func, fold, args: nodes.into() },
        }
    }
}

fn first(nodes: Vec<Node>, make: impl FnOnce(Box<Node>) -> Node) -> Node {
    match nodes.into_iter().next() {
        Some(value) => make(Box::new(value)),
        None => Node::Const(Out::Null),
    }
}

/// What Elasticsearch has in place of a function that only other engines have.
fn instead_of(name: &str) -> Option<&'static str> {
    match name.to_ascii_lowercase().as_str() {
        "match" | "matchlite" => Some("write `field regex \"..\"`"),
        "arraycontains" | "arraysearch" | "arraycount" => {
            Some("compare the field itself: a comparison holds if any value of a list does")
        }
        _ => None,
    }
}
