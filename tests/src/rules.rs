//! Rules that the harness adds to the shipped ones.

/// A rule that matches every file event, so that a filter compiled from the rules lets all of them through.
pub const MATCH_ALL: &str = r#"[metadata]
creation_date = "2026/01/01"
maturity = "production"
updated_date = "2026/01/01"

[rule]
author = ["sensor"]
description = "Matches every file event."
index = ["logs-endpoint.events.file*"]
language = "eql"
license = "Apache-2.0"
name = "Every File Event"
risk_score = 1
rule_id = "00000000-0000-4000-8000-000000000001"
severity = "low"
type = "eql"
query = '''
file where event.action != null
'''
"#;

/// A rule for the files that mark where a test begins and ends in the outputs of a shared sensor. Its cap is out of
/// reach: a suppressed marker would look like a hanging sensor.
pub const MARKER: &str = r#"[metadata]
creation_date = "2026/01/01"
maturity = "production"
updated_date = "2026/01/01"

[rule]
author = ["sensor"]
description = "Marks a place in the outputs."
index = ["logs-endpoint.events.file*"]
language = "eql"
license = "Apache-2.0"
max_signals = 100000
name = "Marker"
risk_score = 1
rule_id = "00000000-0000-4000-8000-000000000003"
severity = "low"
type = "eql"
query = '''
file where event.action == "creation" and file.path : "/etc/apt/apt.conf.d/zz-marker-*.swp"
'''
"#;
