//! What a valid policy says but probably does not mean.

use std::fmt;

use crate::{CallRate, CaptureMode, CapturePolicy, Filter, HeaderList, Pattern};

/// How much a lint matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LintLevel {
    /// Has no effect, or is worth knowing.
    Note,
    /// Costs, exposes or loses something.
    Warning,
}

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// How much it matters.
    pub level: LintLevel,
    /// Dotted key, as `filter.exclude[2]`.
    pub key: String,
    /// What is remarkable, and what to do about it.
    pub message: String,
}

impl fmt::Display for Lint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            LintLevel::Note => "note",
            LintLevel::Warning => "warning",
        };
        write!(out, "{level}: {}: {}", self.key, self.message)
    }
}

impl CapturePolicy {
    /// Remarks in the order of the policy's keys; the default policy has none.
    #[must_use]
    pub fn lint(&self) -> Vec<Lint> {
        let mut lints = Lints(Vec::new());
        self.lint_calls(&mut lints);
        lint_headers("headers.request", &self.headers.request, &mut lints);
        lint_headers("headers.response", &self.headers.response, &mut lints);
        self.lint_capture(&mut lints);
        self.lint_filters(&mut lints);
        lints.0
    }

    fn lint_calls(&self, lints: &mut Lints) {
        match self.calls.budget {
            CallRate::Unlimited => lints.note(
                "calls.budget",
                "every call becomes a row; the store grows with the traffic, so keep this to tests and demonstrations",
            ),
            CallRate::PerSecond(0) => {
                lints.warn("calls.budget", "no single call is sent, only counts; set at least 1 to see calls");
            }
            CallRate::PerSecond(_) => {}
        }
        if self.calls.error_share.get() + self.calls.rare_share.get() >= 1.0 {
            lints.warn(
                "calls.rare_share",
                "the shares take the whole budget: frequent calls that succeed are sent only when a share is unused; lower a share",
            );
        }
    }

    fn lint_capture(&self, lints: &mut Lints) {
        let bytes = self.capture.body_bytes.get();
        match self.capture.mode {
            _ if bytes == 0 => {}
            CaptureMode::Headers => lints.warn(
                "capture.body_bytes",
                "has no effect while capture.mode is \"headers\"; set it to 0 or the mode to \"full\"",
            ),
            CaptureMode::Full => lints.warn(
                "capture.body_bytes",
                format!(
                    "nodes hold up to {bytes} bytes of every body in memory, users' data included; set 0 unless that is wanted"
                ),
            ),
        }
    }

    fn lint_filters(&self, lints: &mut Lints) {
        for (list, entries) in [
            ("exclude", &self.filter.exclude),
            ("include", &self.filter.include),
        ] {
            for (index, entry) in entries.iter().enumerate() {
                let key = format!("filter.{list}[{index}]");
                for (field, reason) in impossible(entry) {
                    lints.warn(&format!("{key}.{field}"), format!("nothing matches: {reason}"));
                }
                let earlier = entries.iter().take(index).position(|other| other.covers(entry));
                if let Some(earlier) = earlier {
                    lints.note(
                        &key,
                        format!("filter.{list}[{earlier}] already takes it in; remove one of them"),
                    );
                }
            }
        }
        for (index, entry) in self.filter.exclude.iter().enumerate() {
            if entry.matches_everything() {
                lints.warn(
                    &format!("filter.exclude[{index}]"),
                    "matches everything: nothing is captured; name what to exclude",
                );
            }
        }
        for (index, entry) in self.filter.include.iter().enumerate() {
            let key = format!("filter.include[{index}]");
            if entry.matches_everything() {
                lints.note(
                    &key,
                    "matches everything, as an empty list does; remove it or name what to include",
                );
            }
            if let Some(cover) = self
                .filter
                .exclude
                .iter()
                .position(|exclude| exclude.covers(entry))
            {
                lints.warn(
                    &key,
                    format!(
                        "filter.exclude[{cover}] excludes all of it, and exclude wins; remove one of them"
                    ),
                );
            }
        }
    }
}

/// Header names whose values are addresses with their query, which may hold users' data.
const URL_HEADERS: &[&str] = &[
    "content-location",
    "location",
    "referer",
    "x-original-url",
    "x-rewrite-url",
];

fn lint_headers(key: &str, list: &HeaderList, lints: &mut Lints) {
    for (index, entry) in list.entries().enumerate() {
        let key = format!("{key}[{index}]");
        if entry.is_wildcard() {
            lints.warn(
                &key,
                format!(
                    "{:?} lets values through that nobody has looked at (known credentials stay out); list the names that are needed",
                    entry.as_str()
                ),
            );
        } else if URL_HEADERS.contains(&entry.as_str()) {
            lints.warn(
                &key,
                format!(
                    "{:?} carries addresses with their query values; remove it unless they are harmless",
                    entry.as_str()
                ),
            );
        }
        if list
            .entries()
            .take(index)
            .any(|earlier| earlier == entry || earlier.matches(entry.as_str()))
        {
            lints.note(
                &key,
                format!(
                    "an earlier entry already takes {:?} in; remove one of them",
                    entry.as_str()
                ),
            );
        }
    }
}

/// Fields that can match no subject there is, with the reason and remedy.
fn impossible(filter: &Filter) -> impl Iterator<Item = (&'static str, &'static str)> {
    let relative = |pattern: &Pattern| !pattern.as_str().starts_with(['/', '*']);
    let executable = filter
        .executable
        .as_ref()
        .filter(|pattern| pattern.as_str().contains('/') && relative(pattern));
    let cgroup = filter
        .cgroup
        .as_ref()
        .filter(|pattern| relative(pattern) || pattern.as_str().ends_with('/'));
    let is_id = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'*');
    let container = filter
        .container
        .as_ref()
        .filter(|pattern| !pattern.as_str().bytes().all(is_id));
    [
        executable.map(|_| ("executable", "paths of executables start with /; write the whole path, or the file name alone")),
        container.map(|_| ("container", "container ids are lower-case hexadecimal; write the id as the runtime prints it")),
        cgroup.map(|_| ("cgroup", "paths of control groups start with / and end with a name; write it as /proc/PID/cgroup shows it")),
    ]
    .into_iter()
    .flatten()
}

struct Lints(Vec<Lint>);

impl Lints {
    fn note(&mut self, key: &str, message: impl Into<String>) {
        self.0.push(Lint {
            level: LintLevel::Note,
            key: key.to_owned(),
            message: message.into(),
        });
    }

    fn warn(&mut self, key: &str, message: impl Into<String>) {
        self.0.push(Lint {
            level: LintLevel::Warning,
            key: key.to_owned(),
            message: message.into(),
        });
    }
}
