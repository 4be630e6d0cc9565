//! `[[exceptions]]`: read, compiled, and every mistake located in the file.

use std::fmt;

use sensor_ecs::Schema;
use sensor_eql::ast::Query;
use sensor_eql::diag::{Located, SourceFile};
use sensor_eql::{
    Compiled, Diagnostic, Diagnostics, RuleSet, Severity, Span, compile, map_toml_string, parse,
};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;

use super::Loaded;
use crate::pipeline::{Exception, Exceptions};

/// `[[exceptions]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExceptionSettings {
    /// What it is called in the totals.
    pub name: String,
    /// The rules that it is about.
    pub rules: About,
    /// An EQL query on single events: `file where ...`.
    pub condition: Spanned<String>,
    /// Whether it holds.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// The rules that an exception is about.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    /// `"all"`
    All,
    /// Those with these ids.
    Ids(Vec<Spanned<String>>),
}

const ALL: &str = "all";

impl About {
    /// The ids that are named.
    #[must_use]
    pub fn ids(&self) -> &[Spanned<String>] {
        match self {
            Self::All => &[],
            Self::Ids(ids) => ids,
        }
    }

    fn is_about(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.iter().any(|one| one.get_ref() == id),
        }
    }
}

impl Serialize for About {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => ALL.serialize(to),
            Self::Ids(ids) => ids.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for About {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AllOrIds;

        impl<'de> Visitor<'de> for AllOrIds {
            type Value = About;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{ALL}\" or a list of rule ids")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<About, E> {
                if text == ALL {
                    Ok(About::All)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<About, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = items.next_element()? {
                    ids.push(id);
                }
                Ok(About::Ids(ids))
            }
        }

        from.deserialize_any(AllOrIds)
    }
}

impl Loaded {
    /// Compiles the exceptions for these rules, with what their author should know.
    ///
    /// # Errors
    ///
    /// Everything wrong with them, located.
    pub(crate) fn exceptions(
        &self,
        rules: &RuleSet,
        schema: &dyn Schema,
    ) -> Result<(Exceptions, Vec<Located>), Vec<Located>> {
        let (mut all, mut warnings, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for settings in &self.config.exceptions {
            match self.compile(&settings.condition, schema) {
                Err(found) => errors.extend(found),
                Ok((condition, found)) => {
                    warnings.extend(found);
                    // One that is switched off is looked at all the same: nobody wants to find it broken in need.
                    if settings.enabled {
                        let about = rules.select(|rule| settings.rules.is_about(&rule.rule.id));
                        all.push(Exception { name: settings.name.clone(), rules: about, condition });
                    }
                }
            }
        }
        if let Some(beyond) = self.config.exceptions.get(Exceptions::MAX) {
            let span = Span::new(beyond.condition.span().start, beyond.condition.span().end);
            let cause = format!("more than {} exceptions", Exceptions::MAX);
            errors.push(self.locate(&Diagnostic::error(span, cause)));
        }
        if errors.is_empty() { Ok((Exceptions::new(all, rules), warnings)) } else { Err(errors) }
    }

    fn compile(
        &self,
        condition: &Spanned<String>,
        schema: &dyn Schema,
    ) -> Result<(Compiled, Vec<Located>), Vec<Located>> {
        let text = condition.get_ref();
        let raw = Span::new(condition.span().start, condition.span().end);
        let map = map_toml_string(&self.text, raw, text);
        let source = SourceFile { name: &self.name(), text: &self.text, map };
        let locate = |found: &[Diagnostic]| found.iter().map(|one| source.locate(one)).collect::<Vec<_>>();
        let query = match parse(text) {
            Ok(query) => query,
            Err(found) => return Err(locate(&with_form(found, text).0)),
        };
        if !matches!(&query, Query::Event(event) if event.pipes.is_empty()) {
            let whole = Span::new(0, text.len());
            let error = Diagnostic::error(whole, "an exception looks at one event at a time").help(FORM);
            return Err(locate(&[error]));
        }
        let compiled = compile(&query, schema).map_err(|found| locate(&found.0))?;
        if !compiled.unknown_fields().is_empty() {
            // In a rule it is a warning; here, `not` before it would suppress everything.
            let errors = compiled.warnings().iter().cloned();
            let errors = errors.map(|found| Diagnostic { severity: Severity::Error, ..found });
            return Err(locate(&errors.collect::<Vec<_>>()));
        }
        let warnings = locate(compiled.warnings());
        Ok((compiled, warnings))
    }
}

const FORM: &str = "write `file where ...`, `process where ...` or `any where ...`";

/// Adds the form of a condition to what is wrong with one that does not have it.
fn with_form(mut found: Diagnostics, text: &str) -> Diagnostics {
    let has_where = text.split_whitespace().any(|word| word.eq_ignore_ascii_case("where"));
    if let Some(first) = found.0.first_mut().filter(|first| !has_where && first.help.is_none()) {
        first.help = Some(FORM.to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use sensor_ecs::{Document, Ecs, OpenSchema};
    use sensor_eql::{Origin, RuleIndex, RuleSource};

    use super::*;

    const EXAMPLES: &str = include_str!("../../../examples/exceptions.toml");
    const APT_RULE: &str =
        include_str!("../../../rules/linux/persistence_apt_package_manager_file_creation.toml");

    /// What the rule makes of an event, and whether an exception suppresses it.
    fn fate(exceptions: &mut Exceptions, rules: &RuleSet, event: &str) -> &'static str {
        let mut document = Document::new();
        document.parse(event.as_bytes(), &OpenSchema::new()).unwrap();
        let mut alerts = false;
        rules.matches(&document, &mut |_| alerts = true);
        match alerts {
            false => "silent",
            true if exceptions.suppress(RuleIndex(0), &document, None::<&Document>) => "suppressed",
            true => "alert",
        }
    }

    fn event(action: &str, path: &str, original: &str, exe: &str, args: &str, parent: &str) -> String {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let original = match original {
            "" => String::new(),
            path => format!(r#","Ext":{{"original":{{"path":"{path}","name":"{}"}}}}"#, name(path)),
        };
        let args: Vec<String> = args.split(' ').map(|arg| format!("{arg:?}")).collect();
        let line = parent;
        let parent = parent.split(' ').find(|arg| arg.starts_with('/') && *arg != "/bin/sh").unwrap();
        format!(
            r#"{{"event":{{"category":["file"],"action":"{action}"}},"host":{{"os":{{"type":"linux"}}}},"file":{{"path":"{path}","name":"{}"{original}}},"process":{{"executable":"{exe}","name":"{}","args":[{}],"parent":{{"executable":"{parent}","command_line":"{line}"}}}}}}"#,
            name(path),
            name(exe),
            args.join(",")
        )
    }

    #[test]
    fn the_examples_are_off_and_silence_what_they_say_and_no_copy_of_an_attacker() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sensor.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            crate::config::load(Some(&path)).unwrap()
        };
        let source = RuleSource { origin: Origin::Shipped, path: "apt.toml".into(), text: APT_RULE.into() };
        let rules = RuleSet::load([source], &Ecs);
        let (mut off, warnings) = load(EXAMPLES).exceptions(&rules, &Ecs).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let all_on = EXAMPLES.replace("enabled = false", "enabled = true");
        let (mut on, _) = load(&all_on).exceptions(&rules, &Ecs).unwrap();

        let dir = "/etc/apt/apt.conf.d";
        let shell = "/bin/sh /tmp/x.sh";
        let ucf = "/bin/sh /usr/bin/ucf --three-way /usr/share/u/50u /etc/apt/apt.conf.d/50u";
        let ucf_of_tmp = "/bin/sh /usr/bin/ucf /tmp/evil /etc/apt/apt.conf.d/50u";
        let module = "/usr/bin/python3 /root/.ansible/tmp/ansible-tmp-1763.25-77-1/AnsiballZ_copy.py";
        let uploaded = "/root/.ansible/tmp/ansible-tmp-1763.25-77-1/source";
        for (expected, event) in [
            ("suppressed", event("creation", &format!("{dir}/50u"), "", "/usr/bin/cp", "cp -pf a b", ucf)),
            ("alert", event("creation", &format!("{dir}/50u"), "", "/usr/bin/cp", "cp -pf a b", ucf_of_tmp)),
            ("alert", event("creation", &format!("{dir}/99x"), "", "/usr/bin/cp", "cp /tmp/evil x", shell)),
            ("alert", event("creation", &format!("{dir}/99x"), "", "/tmp/cp", "cp -pf a b", ucf)),
            (
                "alert",
                event("rename", &format!("{dir}/99x"), "/tmp/sedAbCdEf", "/usr/bin/mv", "mv a b", shell),
            ),
            (
                "suppressed",
                event(
                    "rename",
                    &format!("{dir}/99x"),
                    &format!("{dir}/sedAbCd1f"),
                    "/usr/bin/sed",
                    "sed -i s/a/b/",
                    shell,
                ),
            ),
            (
                "alert",
                event("rename", &format!("{dir}/99x"), "/tmp/sedAbCdEf", "/usr/bin/sed", "sed -i x", shell),
            ),
            (
                "alert",
                event(
                    "rename",
                    &format!("{dir}/99x"),
                    &format!("{dir}/sedAbCd1f"),
                    "/usr/bin/cp",
                    "cp a b",
                    shell,
                ),
            ),
            (
                "suppressed",
                event(
                    "rename",
                    &format!("{dir}/99x~"),
                    &format!("{dir}/99x"),
                    "/usr/bin/vim.basic",
                    "vim x",
                    shell,
                ),
            ),
            (
                "suppressed",
                event("creation", &format!("{dir}/99x"), "", "/usr/bin/vim.basic", "vim x", shell),
            ),
            ("alert", event("creation", &format!("{dir}/99x"), "", "/tmp/vim.basic", "vim x", shell)),
            (
                "suppressed",
                event("rename", &format!("{dir}/99x"), uploaded, "/usr/bin/python3.11", module, shell),
            ),
            (
                "suppressed",
                event(
                    "creation",
                    &format!("{dir}/.ansible_tmpab1299x"),
                    "",
                    "/usr/bin/python3.11",
                    module,
                    shell,
                ),
            ),
            ("alert", event("creation", &format!("{dir}/99x"), "", "/usr/bin/python3.11", module, shell)),
            ("alert", event("rename", &format!("{dir}/99x"), uploaded, "/usr/bin/mv", "mv a b", shell)),
        ] {
            assert_eq!(fate(&mut on, &rules, &event), expected, "{event}");
            assert_eq!(fate(&mut off, &rules, &event), "alert", "{event}");
        }
    }
}
