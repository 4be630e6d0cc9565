//! The grammar: what is accepted, what is refused, and where the caret points.

use super::*;
use crate::ast::{CompareOp, PatternSyntax};

fn event(source: &str) -> Expr {
    match parse(source).unwrap() {
        Query::Event(q) => q.filter.condition,
        _ => panic!("not an event query"),
    }
}

fn error(source: &str) -> Diagnostic {
    parse(source).unwrap_err().0.remove(0)
}

#[test]
fn not_binds_tighter_than_and_than_or() {
    let ExprKind::Or(items) = event("any where not a and b or c").kind else { panic!() };
    let ExprKind::And(both) = &items[0].kind else { panic!() };
    assert!(matches!(both[0].kind, ExprKind::Not(_)));
}

#[test]
fn not_covers_the_whole_comparison() {
    let ExprKind::Not(inner) = event("any where not a == 1").kind else { panic!() };
    assert!(matches!(inner.kind, ExprKind::Compare(CompareOp::Eq, ..)));
}

#[test]
fn colon_is_insensitive_like_and_takes_lists_without_a_blank() {
    for source in
        ["any where a :(\"x*\", \"y\")", "any where a:(\"x*\",\"y\")", "any where a like~ (\"x*\",\"y\")"]
    {
        let ExprKind::Match { patterns, syntax, insensitive, .. } = event(source).kind else { panic!() };
        assert!(insensitive && syntax == PatternSyntax::Wildcard && patterns.len() == 2);
    }
}

#[test]
fn names_may_be_quoted_optional_and_contain_keywords_after_a_dot() {
    for (source, wanted) in [
        ("any where `a b`.c == 1", "a b.c"),
        ("any where ?a.in == 1", "a.in"),
        ("any where process.where == 1", "process.where"),
        ("any where `sequence` == 1", "sequence"),
    ] {
        let ExprKind::Compare(_, left, _) = event(source).kind else { panic!() };
        let ExprKind::Field { name, .. } = left.kind else { panic!() };
        assert_eq!(name, wanted);
    }
}

#[test]
fn sequences_with_everything() {
    let source = "sequence by a, ?b with maxspan=10s
        [file where x == 1] by c with runs=3
        ![any where true] by c
        [process where y] by d
        until [process where z] by d
        | head 10 | tail 2";
    let Query::Sequence(s) = parse(source).unwrap() else { panic!() };
    assert_eq!((s.by.len(), s.maxspan, s.terms.len()), (2, Some(10_000_000_000), 3));
    assert_eq!((s.terms[0].runs, s.terms[1].missing, s.until.is_some()), (3, true, true));
    assert_eq!(s.pipes, [Pipe::Head(10), Pipe::Tail(2)]);
}

#[test]
fn refused_with_a_position() {
    for (source, at, message) in [
        ("file where a = 1", 13, "expected an operator, found `=`"),
        ("file where", 10, "expected a value, found the end of the query"),
        ("file were a == 1", 5, "expected `where`, found `were`"),
        ("file where a == 1 AND b == 2", 18, "expected an operator or the end, found `AND`"),
        ("file where a : 5", 15, "expected a string, found a number"),
        ("file where a in \"x\"", 16, "expected `(`, found a string"),
        ("file where a[0] == 1", 12, "array elements cannot be picked"),
        ("sequence [any where true]", 0, "a sequence needs two events or more"),
        ("sequence ![any where true] [any where true]", 9, "a missing event needs `with maxspan`"),
        ("sequence [any where true] by a [any where true]", 31, "every event needs the same number of keys"),
        (
            "sequence with maxspan=5 [any where true] [any where true]",
            24,
            "expected a unit: ms, s, m, h or d, found `[`",
        ),
        ("sample [any where true] [any where true]", 0, "a sample needs a key"),
        ("any where true | sort a", 17, "unknown pipe `sort`"),
        ("sequence [any where true] with runs=101", 36, "expected a number from 1 to 100, found a number"),
    ] {
        let e = error(source);
        assert_eq!((e.message.as_str(), e.span.start), (message, at), "{source}");
    }
}

#[test]
fn wrong_case_and_typing_errors_in_keywords_are_named() {
    assert_eq!(error("file where a == 1 AND b == 2").help.as_deref(), Some("keywords are lower case: `and`"));
    assert_eq!(error("file whre a == 1").help.as_deref(), Some("did you mean `where`?"));
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    let many = 100_000;
    for source in [
        format!("any where {}true{}", "(".repeat(many), ")".repeat(many)),
        format!("any where {}true", "not ".repeat(many)),
        format!("any where {}1 == 1", "-".repeat(many)),
        format!("any where {}1 == 1", "1 + ".repeat(many)),
        // Each level alone is within the limits; together they are not.
        format!("any where {}1{} == 1", "(".repeat(90), format!("{})", " + 1".repeat(90)).repeat(90)),
        format!("any where {}1{} == 1", "length(".repeat(many), ")".repeat(many)),
    ] {
        assert_eq!(error(&source).message, "expression is nested too deeply");
    }
}

#[test]
fn long_flat_chains_are_fine() {
    let source = format!("any where {}true", "a == 1 or ".repeat(5000));
    assert!(parse(&source).is_ok());
}
