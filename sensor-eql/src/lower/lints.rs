//! Findings on lists and literals: what runs, but not as its author thinks.

use super::{Lower, wildcards};
use crate::ast::{Expr, ExprKind, PatternSyntax};
use crate::diag::Span;
use crate::wild::Wildcard;

impl Lower<'_> {
    pub(super) fn lint_wildcard(&mut self, item: &Expr) {
        if let ExprKind::Text(text) = &item.kind
            && text.contains('*')
        {
            let kql = self.kql;
            let d = self.warning(item.span, "`*` is not a wildcard here");
            if kql {
                d.cause = Some("a quoted value is compared literally".to_owned());
                d.help = Some("remove the quotes to match a pattern".to_owned());
            } else {
                d.cause = Some("`==`, `!=` and `in` compare literally".to_owned());
                d.help = Some("use `:`, `like` or `like~` to match a pattern".to_owned());
            }
        }
    }

    pub(super) fn lint_repeats(&mut self, list: &[Expr], fold: bool) {
        let key = |e: &Expr| match &e.kind {
            ExprKind::Text(t) => Some(if fold { t.to_ascii_lowercase() } else { t.clone() }),
            _ => None,
        };
        let mut seen = std::collections::HashSet::new();
        for item in list {
            if let Some(key) = key(item)
                && !seen.insert(key)
            {
                self.warning(item.span, "listed twice");
            }
        }
    }

    pub(super) fn lint_covered(&mut self, patterns: &[(String, Span)], syntax: PatternSyntax, fold: bool) {
        if syntax == PatternSyntax::Regex || patterns.len() > super::COVER_ITEMS_MAX {
            return;
        }
        let compiled: Vec<Wildcard> = wildcards(patterns, syntax, fold).collect();
        for (i, (pattern, span)) in patterns.iter().enumerate() {
            // A pattern that another matches as a text is covered by it: `*` matches `*`, and `?` matches `?`.
            let by = compiled.iter().zip(patterns).enumerate().find(|(j, (wild, (other, _)))| {
                *j != i
                    && !other.contains('?')
                    && wild.matches(pattern.as_bytes())
                    && (*j < i || other != pattern)
            });
            if let Some((_, (_, (other, _)))) = by {
                let message = format!("never decides: `{other}` already covers it");
                self.warning(*span, message);
            }
        }
    }
}
