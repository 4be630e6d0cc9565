//! A page to look at in a browser: one file, no script, nothing fetched; light and dark as the reader's system.
//!
//! Whatever comes from events, files and queries is text in the page and nothing else: it is escaped where it is
//! written, and a policy in the head forbids scripts and connections besides.

mod chart;

use std::fmt::Write as _;

use crate::answer::{Answer, Done, Outcome};
use crate::esql::{Cell, Type, date_text};
use crate::file::HuntQuery;
use crate::show::{count, grouped, people, shown};

const HEAD: &str = include_str!("head.html");
const STYLE: &str = include_str!("style.css");
const ROWS_MAX: usize = 2_000;
/// A value that is longer is cut, and whole in its tooltip.
const VALUE_CHARS_MAX: usize = 400;

/// The page of some hunts; `now_ms` is when they ran.
#[must_use]
pub fn page(hunts: &[Done], now_ms: i64) -> String {
    let title = match hunts {
        [one] => one.hunt.name.clone(),
        _ => format!("{} hunts", hunts.len()),
    };
    let mut out = String::new();
    let title = escaped(&title);
    let _ = writeln!(out, "{HEAD}<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let _ = writeln!(
        out,
        "<header class=\"top\"><span class=\"mark\">sensor hunt</span><span>{} · {}</span></header>\n<main>",
        escaped(&host),
        date_text(now_ms)
    );
    if hunts.len() > 1 {
        overview(hunts, &mut out);
    }
    for (index, done) in hunts.iter().enumerate() {
        hunt(index, done, &mut out);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Text in a page.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(it),
            _ if it.is_control() => out.push('\u{fffd}'),
            _ => out.push(it),
        }
    }
    out
}

fn overview(hunts: &[Done], out: &mut String) {
    out.push_str("<nav class=\"card\"><h2>Hunts</h2><ol>\n");
    for (index, done) in hunts.iter().enumerate() {
        let rows: usize = done.outcomes.iter().flatten().map(|answer| answer.rows.len()).sum();
        let _ = writeln!(
            out,
            "<li><a href=\"#hunt-{index}\">{}</a> <span class=\"quiet\">{}</span></li>",
            escaped(&done.hunt.name),
            count(rows as u64, "row")
        );
    }
    out.push_str("</ol></nav>\n");
}

fn hunt(index: usize, done: &Done, out: &mut String) {
    let it = &done.hunt;
    let _ = writeln!(out, "<section class=\"hunt\" id=\"hunt-{index}\">\n<h1>{}</h1>", escaped(&it.name));
    if let Some(text) = &it.description {
        let _ = writeln!(out, "<p class=\"lead\">{}</p>", escaped(text));
    }
    out.push_str("<p class=\"tags\">");
    for technique in &it.mitre {
        let _ = write!(out, "<span class=\"tag attack\">{}</span>", escaped(technique));
    }
    let known = [("by", &it.author), ("licence", &it.license), ("id", &it.uuid)];
    for (what, value) in known.iter().filter_map(|(what, value)| Some((what, value.as_ref()?))) {
        let _ = write!(out, "<span class=\"tag\"><b>{what}</b> {}</span>", escaped(value));
    }
    out.push_str("</p>\n");
    for (number, (query, outcome)) in it.queries.iter().zip(&done.outcomes).enumerate() {
        of_query(number + 1, query, outcome, out);
    }
    if !it.notes.is_empty() {
        out.push_str("<div class=\"card notes\"><h3>Notes of the hunt</h3><ul>\n");
        for note in &it.notes {
            let _ = writeln!(out, "<li>{}</li>", escaped(note));
        }
        out.push_str("</ul></div>\n");
    }
    out.push_str("</section>\n");
}

fn of_query(number: usize, query: &HuntQuery, outcome: &Outcome, out: &mut String) {
    let (state, word) = match outcome {
        Ok(answer) if answer.incomplete.is_some() => ("warn", "incomplete"),
        Ok(answer) if answer.rows.is_empty() => ("none", "no rows"),
        Ok(_) => ("hit", "rows"),
        Err(why) => ("fail", why.word()),
    };
    let text = match outcome {
        Ok(answer) if answer.incomplete.is_none() && !answer.rows.is_empty() => {
            count(answer.rows.len() as u64, "row")
        }
        Ok(answer) if !answer.rows.is_empty() => grouped(answer.rows.len() as u64) + " " + word,
        _ => word.to_owned(),
    };
    let _ = writeln!(
        out,
        "<article class=\"card\">\n<h2>Query {number} <span class=\"tag\">{}</span> \
         <span class=\"state {state}\">{}</span></h2>",
        query.language,
        escaped(&text)
    );
    match outcome {
        Ok(answer) => of_answer(answer, out),
        Err(why) => {
            let _ = writeln!(out, "<pre class=\"reason\">{}</pre>", escaped(why.reason()));
        }
    }
    let _ = writeln!(
        out,
        "<details><summary>Query text</summary><pre>{}</pre></details>\n</article>",
        escaped(&query.text)
    );
}

fn of_answer(answer: &Answer, out: &mut String) {
    let said = answer.incomplete.iter().chain(&answer.notes).chain(&answer.warnings);
    let said: Vec<&String> = said.collect();
    if !said.is_empty() {
        out.push_str("<ul class=\"said\">\n");
        for text in said {
            let _ = writeln!(out, "<li>{}</li>", escaped(text));
        }
        out.push_str("</ul>\n");
    }
    let charts: String = [chart::timeline(answer), chart::bars(answer)].into_iter().flatten().collect();
    if !charts.is_empty() {
        let _ = writeln!(out, "<div class=\"charts\">\n{charts}</div>");
    }
    if !answer.rows.is_empty() {
        table(answer, out);
    }
    let _ = writeln!(out, "<p class=\"quiet\">{}</p>", people::summary(answer));
}

fn is_number(kind: Type) -> bool {
    kind.is_number()
}

fn table(answer: &Answer, out: &mut String) {
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for column in &answer.columns {
        let class = if is_number(column.ty) { " class=\"n\"" } else { "" };
        let _ = write!(out, "<th{class} scope=\"col\">{}</th>", escaped(&column.name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in answer.rows.iter().take(ROWS_MAX) {
        out.push_str("<tr>");
        for (column, cell) in answer.columns.iter().zip(row) {
            cell_of(column.ty, cell, out);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    if answer.rows.len() > ROWS_MAX {
        let rest = grouped((answer.rows.len() - ROWS_MAX) as u64);
        let _ = writeln!(out, "<p class=\"quiet\">{rest} more rows are not shown.</p>");
    }
}

fn cell_of(kind: Type, cell: &Cell, out: &mut String) {
    if *cell == Cell::Null {
        out.push_str("<td class=\"null\">–</td>");
        return;
    }
    let text = shown(cell);
    let class = if is_number(kind) { " class=\"n\"" } else { "" };
    let cut = text.char_indices().nth(VALUE_CHARS_MAX).and_then(|(at, _)| text.get(..at));
    let _ = match cut {
        Some(cut) => write!(out, "<td{class} title=\"{}\">{}…</td>", escaped(&text), escaped(cut)),
        None => write!(out, "<td{class}>{}</td>", escaped(&text)),
    };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{escaped, page};
    use crate::answer::{Answer, Done, Unanswered};
    use crate::esql::{Cell, Column, Type};
    use crate::file::Hunt;

    pub(super) fn column(name: &str, ty: Type) -> Column {
        Column { name: name.into(), ty }
    }

    pub(super) fn hostile() -> Done {
        let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}&amp;\x1b[31m";
        let mut hunt = Hunt::parse(&format!(
            "[hunt]\nname='''{0}'''\ndescription='''{0}'''\nmitre=['''{0}''']\nnotes=['''{0}''']\nquery=['''from {0}''','select']",
            evil.replace(['\'', '\x1b'], "")
        ))
        .unwrap();
        hunt.author = Some(evil.into());
        let rows = (0..30)
            .map(|index| {
                vec![
                    Cell::Text(format!("{evil}{index}")),
                    Cell::Long(30 - index),
                    Cell::Date(1_700_000_000_000 + index * 3_600_000),
                    Cell::Null,
                ]
            })
            .collect();
        let answer = Answer {
            columns: vec![
                column(evil, Type::Keyword),
                column("cc", Type::Long),
                column("seen", Type::Date),
                column("none", Type::Null),
            ],
            rows,
            warnings: vec![evil.into()],
            notes: vec![evil.into()],
            incomplete: Some(evil.into()),
            scanned: 5,
            elapsed: Duration::from_millis(7),
        };
        Done { hunt, outcomes: vec![Ok(answer), Err(Unanswered::Invalid(evil.into()))] }
    }

    #[test]
    fn nothing_of_a_value_is_markup() {
        let text = page(&[hostile()], 0);
        assert!(!text.contains("<script") && !text.contains("<img") && !text.contains('\x1b'), "{text}");
        // Every quote of an attribute is one that the page itself wrote.
        assert!(!text.contains("\"'>"), "{text}");
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;"));
    }

    #[test]
    fn the_page_is_whole_in_itself() {
        let text = page(&[hostile(), hostile()], 0);
        for fetched in ["src=\"", "href=\"http", "url(", "@import", "<link", "<script"] {
            assert!(!text.contains(fetched), "{fetched}");
        }
        assert_eq!(text.matches("<svg").count(), text.matches("</svg>").count());
        assert_eq!(text.matches("<svg").count(), 4);
        for tag in ["section", "article", "table", "details", "div", "ul", "ol", "nav", "main"] {
            assert_eq!(
                text.matches(&format!("<{tag}")).count() - text.matches(&format!("<{tag}er")).count(),
                text.matches(&format!("</{tag}>")).count(),
                "{tag}"
            );
        }
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escaped("<a b=\"c\">&'\x07"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}");
    }
}
