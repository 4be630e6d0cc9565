//! The figures that have goals, from what the guest measured. What was not measured gives no line.

use std::fmt::Write as _;

use super::report::Report;

/// Configurations of the sensor and how their figures' names end.
const SENSORS: [(&str, &str); 2] = [("sensor", ""), ("sensor_corpus", "_corpus")];
const RATIOS: [(&str, &str); 3] = [
    ("getppid_ratio", "getppid"),
    ("open_read_close_ratio", "open_read_close"),
    ("fork_exec_ratio", "fork_exec"),
];
const ADDED: [(&str, &str); 4] = [
    ("create_unwatched_added", "create_unwatched"),
    ("rename_unwatched_added", "rename_unwatched"),
    ("create_watched_added", "create_watched"),
    ("rename_watched_added", "rename_watched"),
];
/// Measured as they are named.
const VALUES: [&str; 5] =
    ["idle_cpu", "burst_of_100000_renames_lost", "rss_idle", "rss_after_100000_execs", "ready_after"];

/// Lines `figure NAME VALUE`.
pub(super) fn of(report: &Report) -> String {
    let mut text = String::new();
    let mut figure = |name: String, value: Option<f64>| {
        if let Some(value) = value {
            // Cannot fail: it is a string.
            let _ = writeln!(text, "figure {name} {value}");
        }
    };
    for (config, suffix) in SENSORS {
        let inline = |workload: &str| report.cost(config, workload).map(|cost| cost.inline);
        for (name, workload) in RATIOS {
            let ratio = inline(workload).zip(report.baseline(workload)).map(|(with, without)| with / without);
            // Three digits: what lies beyond is the measurement's own noise.
            figure(format!("{name}{suffix}"), ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0));
        }
        for (name, workload) in ADDED {
            let floor = report.cost("empty_programs", workload).map(|cost| cost.inline);
            figure(format!("{name}{suffix}"), inline(workload).zip(floor).map(|(with, floor)| with - floor));
        }
        let reader = |workload: &str| report.cost(config, workload).map(|cost| cost.reader);
        // The dearer of the two kinds; of an exec, with the fork before it and the end after it.
        let file = reader("create_watched").zip(reader("rename_watched")).map(|(one, two)| one.max(two));
        figure(format!("user_space_file_event{suffix}"), file);
        figure(format!("user_space_exec_event{suffix}"), reader("fork_exec"));
    }
    for name in VALUES {
        figure(name.to_owned(), report.value(name));
    }
    figure("default_ring_size".to_owned(), report.value("default_ring_size"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_becomes_a_figure() {
        let mut report = Report::default();
        report
            .take(
                "row nothing getppid 100 0 100\nrow sensor getppid 100.01 0 100\nrow sensor create_watched 1500 9 9\n\
                 row empty_programs create_watched 1000 0 1000\nvalue rss_idle 5\n",
            )
            .unwrap();
        assert_eq!(
            of(&report),
            "figure getppid_ratio 1\nfigure create_watched_added 500\nfigure rss_idle 5\n"
        );
    }
}
