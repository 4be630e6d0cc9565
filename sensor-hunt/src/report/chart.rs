//! Charts of an answer, as SVG in the page: how many rows lie where in time, and which values weigh most.

use std::fmt::Write as _;

use super::escaped;
use crate::answer::Answer;
use crate::esql::{Cell, Column, Type};
use crate::show::{grouped, shown};

const WIDTH: f64 = 720.0;
const BARS_MAX: usize = 15;
const BAR_HEIGHT: f64 = 22.0;
const LABEL_WIDTH: f64 = 300.0;
const LABEL_CHARS: usize = 42;
const LABELS_MAX: usize = 3;
const BINS: usize = 48;
const TIMELINE_HEIGHT: f64 = 150.0;
/// Room for the axis below and the largest count above.
const AXIS_HEIGHT: f64 = 24.0;
const HEAD_HEIGHT: f64 = 18.0;

/// The rows with the largest count, each named by its other values.
pub(super) fn bars(answer: &Answer) -> Option<String> {
    let counts = answer.columns.iter().position(is_count)?;
    let labels = labels(answer);
    let mut rows: Vec<(String, f64)> = answer
        .rows
        .iter()
        .filter_map(|row| {
            let value = number(row.get(counts)?)?;
            let named = labels.iter().filter_map(|index| row.get(*index)).filter(|cell| **cell != Cell::Null);
            Some((named.map(shown).collect::<Vec<_>>().join(" · "), value))
        })
        .filter(|(label, value)| !label.is_empty() && *value > 0.0)
        .collect();
    if rows.len() < 2 {
        return None;
    }
    rows.sort_by(|left, right| right.1.total_cmp(&left.1));
    let more = rows.len().saturating_sub(BARS_MAX);
    rows.truncate(BARS_MAX);
    let name = &answer.columns.get(counts)?.name;
    let rest = if more > 0 {
        format!(", the first {BARS_MAX} of {}", grouped((rows.len() + more) as u64))
    } else {
        String::new()
    };
    let height = rows.len() as f64 * BAR_HEIGHT + 4.0;
    let mut out = figure(&format!("{name}{rest}"), height);
    let largest = rows.first().map_or(1.0, |row| row.1);
    let room = WIDTH - LABEL_WIDTH - 80.0;
    for (index, (label, value)) in rows.iter().enumerate() {
        let top = index as f64 * BAR_HEIGHT + 2.0;
        let length = (value / largest * room).max(2.0);
        let _ = writeln!(
            out,
            "<g><title>{}: {value}</title><text x=\"{:.0}\" y=\"{:.1}\" class=\"label\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABEL_WIDTH:.0}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{:.1}\" rx=\"3\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" class=\"value\">{value}</text></g>",
            escaped(label),
            LABEL_WIDTH - 8.0,
            top + 14.0,
            escaped(&cut(label)),
            BAR_HEIGHT - 5.0,
            LABEL_WIDTH + length + 6.0,
            top + 14.0,
        );
    }
    out.push_str("</svg></figure>\n");
    Some(out)
}

/// The columns that name a row: its path if it has one, otherwise the first texts that are no times.
fn labels(answer: &Answer) -> Vec<usize> {
    let texts = answer.columns.iter().enumerate().filter(|(index, column)| {
        let is_time = |row: &Vec<Cell>| row.get(*index).is_some_and(|cell| time(cell).is_some());
        matches!(column.ty, Type::Keyword | Type::Ip) && !answer.rows.iter().any(is_time)
    });
    let texts: Vec<(usize, &Column)> = texts.collect();
    match texts.iter().find(|(_, column)| column.name == "path") {
        Some((index, _)) => vec![*index],
        None => texts.iter().map(|(index, _)| *index).take(LABELS_MAX).collect(),
    }
}

/// A number that says how often: such a column is what a hunt sorts by.
fn is_count(column: &Column) -> bool {
    let name = column.name.to_ascii_lowercase();
    column.ty.is_number()
        && (name == "cc" || name.contains("count") || name.contains("total") || name.ends_with("size_bytes"))
        && !name.starts_with("agent_count")
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Long(number) => Some(*number as f64),
        Cell::Double(number) if number.is_finite() => Some(*number),
        _ => None,
    }
}

/// Both ends of a long label tell: of a path, the folder and the name.
fn cut(label: &str) -> String {
    let all: Vec<char> = label.chars().collect();
    if all.len() <= LABEL_CHARS {
        return label.to_owned();
    }
    let half = LABEL_CHARS / 2;
    let tail = all.len() - half;
    all.iter().take(half - 1).chain(&['…']).chain(all.iter().skip(tail)).collect()
}

/// How many rows lie in each of some equal spans, by the first column that is a time.
pub(super) fn timeline(answer: &Answer) -> Option<String> {
    let (name, times) = times(answer)?;
    let (first, last) = (*times.first()?, *times.last()?);
    if times.len() < 2 || first == last {
        return None;
    }
    let span = (last - first) / BINS as i64 + 1;
    let mut bins = vec![0_u64; BINS];
    for time in &times {
        let index = usize::try_from((time - first) / span).unwrap_or(0).min(BINS - 1);
        if let Some(bin) = bins.get_mut(index) {
            *bin += 1;
        }
    }
    let largest = bins.iter().copied().max().unwrap_or(1).max(1);
    let mut out = figure(&format!("Rows over time, by {name}"), TIMELINE_HEIGHT);
    let base = TIMELINE_HEIGHT - AXIS_HEIGHT;
    let step = WIDTH / BINS as f64;
    for (index, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (*count as f64 / largest as f64 * (base - HEAD_HEIGHT)).max(2.0);
        let from = moment(first + index as i64 * span, span);
        let _ = writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"2\">\
             <title>{from}: {}</title></rect>",
            index as f64 * step + 1.0,
            base - height,
            step - 2.0,
            grouped(*count)
        );
    }
    let _ = writeln!(
        out,
        "<line x1=\"0\" x2=\"{WIDTH:.0}\" y1=\"{base:.0}\" y2=\"{base:.0}\" class=\"axis\"/>\
         <text x=\"0\" y=\"12\" class=\"value\">at most {} in {}</text>\
         <text x=\"0\" y=\"{2:.0}\" class=\"value\">{3}</text>\
         <text x=\"{WIDTH:.0}\" y=\"{2:.0}\" class=\"value\" text-anchor=\"end\">{4}</text></svg></figure>",
        grouped(largest),
        length(span),
        TIMELINE_HEIGHT - 7.0,
        moment(first, span),
        moment(last, span),
    );
    Some(out)
}

fn length(ms: i64) -> String {
    match ms / 1_000 {
        0..2 => format!("{ms} ms"),
        seconds @ 2..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// `2026-01-02 03:04`, with what tells spans of such a length apart.
fn moment(ms: i64, span: i64) -> String {
    let chars = match span {
        0..1_000 => 23,
        1_000..60_000 => 19,
        _ => 16,
    };
    let text = crate::esql::date_text(ms);
    text.get(..chars).unwrap_or(&text).replace('T', " ")
}

/// The column's name and its times, sorted.
fn times(answer: &Answer) -> Option<(&str, Vec<i64>)> {
    let preferred =
        |column: &&(usize, &Column)| column.1.name.contains("modified") || column.1.ty == Type::Date;
    let candidates: Vec<(usize, &Column)> = answer
        .columns
        .iter()
        .enumerate()
        .filter(|(index, _)| {
            answer.rows.iter().filter_map(|row| row.get(*index)).any(|cell| time(cell).is_some())
        })
        .collect();
    let (index, column) = candidates.iter().find(preferred).or_else(|| candidates.first())?;
    let mut found: Vec<i64> = answer.rows.iter().filter_map(|row| time(row.get(*index)?)).collect();
    found.sort_unstable();
    Some((&column.name, found))
}

/// A date, or the text that SQLite's `datetime` makes of one.
fn time(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Date(ms) => Some(*ms),
        Cell::Text(text) if text.len() == 19 => {
            let time: jiff::civil::DateTime = text.parse().ok()?;
            let ms = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
            // 1970 is how a time that is not known is written.
            (ms > 0).then_some(ms)
        }
        _ => None,
    }
}

fn figure(caption: &str, height: f64) -> String {
    let caption = escaped(caption);
    format!(
        "<figure><figcaption>{caption}</figcaption>\n<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" \
         aria-label=\"{caption}\">\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{bars, cut, timeline};
    use crate::answer::Answer;
    use crate::esql::{Cell, Column, Type};

    fn answer(columns: &[(&str, Type)], rows: Vec<Vec<Cell>>) -> Answer {
        let columns = columns.iter().map(|(name, ty)| Column { name: (*name).into(), ty: *ty }).collect();
        Answer { columns, rows, ..Answer::default() }
    }

    #[test]
    fn the_largest_come_first_and_the_rest_is_said() {
        let rows = (1..=20).map(|n| vec![Cell::Text(format!("p{n}")), Cell::Long(n)]).collect();
        let chart =
            bars(&answer(&[("process.executable", Type::Keyword), ("cc", Type::Long)], rows)).unwrap();
        assert_eq!(chart.matches("<rect").count(), 15);
        assert!(
            chart.find("p20").unwrap() < chart.find("p19").unwrap() && !chart.contains(">p5<"),
            "{chart}"
        );
        assert!(chart.contains("the first 15 of 20"), "{chart}");
    }

    #[test]
    fn what_is_no_count_or_has_one_row_is_no_chart() {
        let uid = answer(
            &[("name", Type::Keyword), ("uid", Type::Long)],
            vec![vec![Cell::Text("a".into()), Cell::Long(7)]; 3],
        );
        assert!(bars(&uid).is_none());
        let one = answer(
            &[("name", Type::Keyword), ("cc", Type::Long)],
            vec![vec![Cell::Text("a".into()), Cell::Long(7)]],
        );
        assert!(bars(&one).is_none());
    }

    #[test]
    fn times_of_both_languages_lie_on_a_line() {
        let text = |text: &str| vec![Cell::Text(text.into())];
        let rows = vec![
            text("2026-01-01 00:00:00"),
            text("2026-01-03 00:00:00"),
            text("1970-01-01 00:00:00"),
            vec![Cell::Null],
        ];
        let chart = timeline(&answer(&[("file_last_modified_time", Type::Keyword)], rows)).unwrap();
        assert_eq!(chart.matches("<rect").count(), 2);
        assert!(
            chart.contains("2026-01-01 00:00")
                && chart.contains("2026-01-03 00:00")
                && !chart.contains("1970"),
            "{chart}"
        );
        let dates = vec![vec![Cell::Date(0)], vec![Cell::Date(60_000)]];
        assert!(timeline(&answer(&[("@timestamp", Type::Date)], dates)).is_some());
        let words = answer(&[("name", Type::Keyword)], vec![text("nineteen characters"); 2]);
        assert!(timeline(&words).is_none());
        let extreme = vec![vec![Cell::Date(i64::MIN / 2_000_000)], vec![Cell::Date(i64::MAX / 2_000_000)]];
        assert!(timeline(&answer(&[("t", Type::Date)], extreme)).is_some());
    }

    #[test]
    fn a_long_label_keeps_both_ends() {
        let label = format!("/start/{}/end", "x".repeat(100));
        assert!(
            cut(&label).starts_with("/start/")
                && cut(&label).ends_with("/end")
                && cut(&label).chars().count() == 42
        );
    }
}
