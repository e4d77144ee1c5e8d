//! Whose traffic is captured at all.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::Pattern;

/// Most entries in each of the two lists.
pub const FILTERS_MAX: usize = 1024;

/// From how many characters on the start of a container id stands for the whole id, as container tools print it.
const CONTAINER_PREFIX_MIN: usize = 12;

/// One entry: all keys that are given must match, at least one is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Filter {
    /// Path of the executable as the process sees it; without a `/`, its file name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Pattern>,
    /// Container id; the first 12 characters or more stand for the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Pattern>,
    /// Path of the control group below the hierarchy's root, as `/system.slice/nginx.service`: that group and all below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Pattern>,
    /// Port of the end that serves, 1 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFilter {
    executable: Option<Pattern>,
    container: Option<Pattern>,
    cgroup: Option<Pattern>,
    port: Option<u16>,
}

impl TryFrom<RawFilter> for Filter {
    type Error = String;

    fn try_from(raw: RawFilter) -> Result<Self, String> {
        let RawFilter {
            executable,
            container,
            cgroup,
            port,
        } = raw;
        if port == Some(0) {
            return Err("port 0 is no port; write 1 to 65535".to_owned());
        }
        if executable.is_none() && container.is_none() && cgroup.is_none() && port.is_none() {
            return Err(
                "the entry names nothing; give at least one of executable, container, cgroup, port"
                    .to_owned(),
            );
        }
        Ok(Self {
            executable,
            container,
            cgroup,
            port,
        })
    }
}

/// A visitor of its own, not `try_from`: only an error from inside carries the place of the entry within its list.
impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FilterVisitor;

        impl<'de> Visitor<'de> for FilterVisitor {
            type Value = Filter;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a filter as { executable = \"nginx\", port = 80 }")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Filter, A::Error> {
                let raw = RawFilter::deserialize(MapAccessDeserializer::new(map))?;
                Filter::try_from(raw).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_map(FilterVisitor)
    }
}

/// What a filter is asked about. Empty texts: not known, matched by no pattern.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// Path of the executable.
    pub executable: &'a str,
    /// Container id; empty outside containers.
    pub container: &'a str,
    /// Control group path.
    pub cgroup: &'a str,
    /// Port of the end that serves; `None` while a process is judged before it has a connection.
    pub port: Option<u16>,
}

/// Whether a subject is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Whatever the port.
    Capture,
    /// Whatever the port.
    Ignore,
    /// It depends on the port, which the subject did not give.
    NeedsPort,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    No,
    Yes,
    NeedsPort,
}

impl Filter {
    fn test(&self, subject: &Subject<'_>) -> Match {
        let rest = self
            .executable
            .as_ref()
            .is_none_or(|pattern| executable_matches(pattern, subject.executable))
            && self
                .container
                .as_ref()
                .is_none_or(|pattern| container_matches(pattern, subject.container))
            && self
                .cgroup
                .as_ref()
                .is_none_or(|pattern| cgroup_matches(pattern, subject.cgroup));
        match (rest, self.port, subject.port) {
            (false, _, _) => Match::No,
            (true, None, _) => Match::Yes,
            (true, Some(_), None) => Match::NeedsPort,
            (true, Some(wanted), Some(port)) if wanted == port => Match::Yes,
            (true, Some(_), Some(_)) => Match::No,
        }
    }

    /// Whether every subject that `other` matches is matched by this one too. May miss a case, never claims a wrong one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let covers =
            |mine: &Option<Pattern>, theirs: &Option<Pattern>, test: fn(&Pattern, &str) -> bool| match (
                mine, theirs,
            ) {
                (None, _) => true,
                (Some(mine), Some(theirs)) => {
                    mine == theirs || theirs.is_literal() && test(mine, theirs.as_str())
                }
                (Some(_), None) => false,
            };
        covers(&self.executable, &other.executable, |mine, theirs| {
            theirs.contains('/') && executable_matches(mine, theirs)
        }) && covers(&self.container, &other.container, container_matches)
            && covers(&self.cgroup, &other.cgroup, cgroup_matches)
            && (self.port.is_none() || self.port == other.port)
    }

    /// Whether nothing but `*` is asked for.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        let open = |pattern: &Option<Pattern>| pattern.as_ref().is_none_or(Pattern::matches_everything);
        self.port.is_none() && self.container.is_none() && open(&self.executable) && open(&self.cgroup)
    }
}

fn executable_matches(pattern: &Pattern, executable: &str) -> bool {
    if executable.is_empty() {
        return false;
    }
    let name = executable.rsplit('/').next().unwrap_or(executable);
    pattern.matches(if pattern.as_str().contains('/') {
        executable
    } else {
        name
    })
}

fn container_matches(pattern: &Pattern, container: &str) -> bool {
    if container.is_empty() {
        return false;
    }
    let prefix = pattern.as_str().len() >= CONTAINER_PREFIX_MIN && container.starts_with(pattern.as_str());
    prefix || pattern.matches(container)
}

/// The group itself or any group that contains it.
fn cgroup_matches(pattern: &Pattern, cgroup: &str) -> bool {
    if cgroup.is_empty() {
        return false;
    }
    let parents = cgroup.match_indices('/').map(|(at, _)| at).filter(|&at| at > 0);
    pattern.matches(cgroup)
        || parents
            .filter_map(|at| cgroup.get(..at))
            .any(|parent| pattern.matches(parent))
}

/// The table `[filter]`. An excluded subject is never captured; with a non-empty `include`, only what it names is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawFilters")]
pub struct FilterPolicy {
    /// Default empty. Wins over `include`.
    pub exclude: Vec<Filter>,
    /// Default empty: everything.
    pub include: Vec<Filter>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawFilters {
    exclude: Vec<Filter>,
    include: Vec<Filter>,
}

impl TryFrom<RawFilters> for FilterPolicy {
    type Error = String;

    fn try_from(raw: RawFilters) -> Result<Self, String> {
        let RawFilters { exclude, include } = raw;
        for (list, entries) in [("exclude", exclude.len()), ("include", include.len())] {
            if entries > FILTERS_MAX {
                return Err(format!(
                    "{list} has {entries} entries; use at most {FILTERS_MAX}, wider ones with *"
                ));
            }
        }
        Ok(Self { exclude, include })
    }
}

impl FilterPolicy {
    /// Judges a subject.
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>) -> Decision {
        let excluded = strongest(&self.exclude, subject);
        let included = if self.include.is_empty() {
            Match::Yes
        } else {
            strongest(&self.include, subject)
        };
        match (excluded, included) {
            (Match::Yes, _) | (_, Match::No) => Decision::Ignore,
            (Match::No, Match::Yes) => Decision::Capture,
            _ => Decision::NeedsPort,
        }
    }

    /// Whether a connection is captured; where the port matters and is not given, `true`.
    #[must_use]
    pub fn captures(&self, subject: &Subject<'_>) -> bool {
        self.decide(subject) != Decision::Ignore
    }
}

fn strongest(filters: &[Filter], subject: &Subject<'_>) -> Match {
    let mut best = Match::No;
    for filter in filters {
        match filter.test(subject) {
            Match::Yes => return Match::Yes,
            Match::NeedsPort => best = Match::NeedsPort,
            Match::No => {}
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(executable: &str, container: &str, cgroup: &str, port: u16) -> Filter {
        let pattern = |text: &str| Pattern::new(text).ok();
        let raw = RawFilter {
            executable: pattern(executable),
            container: pattern(container),
            cgroup: pattern(cgroup),
            port: (port > 0).then_some(port),
        };
        raw.try_into().unwrap()
    }

    const NGINX: Subject<'static> = Subject {
        executable: "/usr/sbin/nginx",
        container: "3f4e5d6c7b8a99887766554433221100ffeeddccbbaa99887766554433221100",
        cgroup: "/system.slice/nginx.service/worker",
        port: Some(80),
    };

    #[test]
    fn one_filter() {
        for (filter, expect) in [
            (filter("/usr/sbin/nginx", "", "", 0), true),
            (filter("nginx", "", "", 0), true),
            (filter("ngin*", "", "", 0), true),
            (filter("/usr/*", "", "", 0), true),
            (filter("sbin", "", "", 0), false),
            (filter("", "3f4e5d6c7b8a", "", 0), true),
            (filter("", "3f4e5d6c7b8", "", 0), false),
            (filter("", "3f4e*", "", 0), true),
            (filter("", "", "/system.slice", 0), true),
            (filter("", "", "/system.slice/nginx.service", 0), true),
            (filter("", "", "/system.slice/nginx", 0), false),
            (filter("", "", "/system.slice/nginx*", 0), true),
            (filter("", "", "", 80), true),
            (filter("", "", "", 81), false),
            (filter("nginx", "", "", 81), false),
            (filter("nginx", "3f4e*", "/system.slice", 80), true),
        ] {
            let policy = FilterPolicy {
                exclude: vec![filter.clone()],
                include: vec![],
            };
            assert_eq!(!policy.captures(&NGINX), expect, "{filter:?}");
            let policy = FilterPolicy {
                exclude: vec![],
                include: vec![filter.clone()],
            };
            assert_eq!(policy.captures(&NGINX), expect, "{filter:?}");
        }
    }

    #[test]
    fn exclude_wins_and_empty_include_is_everything() {
        let nginx = filter("nginx", "", "", 0);
        let both = FilterPolicy {
            exclude: vec![nginx.clone()],
            include: vec![nginx],
        };
        assert_eq!(both.decide(&NGINX), Decision::Ignore);
        assert_eq!(FilterPolicy::default().decide(&NGINX), Decision::Capture);
    }

    #[test]
    fn ports_are_waited_for() {
        let process = Subject { port: None, ..NGINX };
        let only_80 = FilterPolicy {
            exclude: vec![],
            include: vec![filter("", "", "", 80)],
        };
        assert_eq!(only_80.decide(&process), Decision::NeedsPort);
        assert_eq!(only_80.decide(&NGINX), Decision::Capture);
        let not_80 = FilterPolicy {
            exclude: vec![filter("", "", "", 80)],
            include: vec![],
        };
        assert_eq!(not_80.decide(&process), Decision::NeedsPort);
        assert_eq!(not_80.decide(&NGINX), Decision::Ignore);
        let other = FilterPolicy {
            exclude: vec![],
            include: vec![filter("curl", "", "", 80)],
        };
        assert_eq!(other.decide(&process), Decision::Ignore);
    }

    #[test]
    fn what_is_not_known_matches_no_pattern() {
        let nobody = Subject::default();
        for filter in [
            filter("*", "", "", 0),
            filter("", "*", "", 0),
            filter("", "", "*", 0),
        ] {
            let policy = FilterPolicy {
                exclude: vec![filter],
                include: vec![],
            };
            assert_eq!(policy.decide(&nobody), Decision::Capture);
        }
    }

    #[test]
    fn covering() {
        for (wide, narrow, expect) in [
            (filter("nginx", "", "", 0), filter("nginx", "", "", 80), true),
            (filter("nginx", "", "", 80), filter("nginx", "", "", 0), false),
            (
                filter("nginx", "", "", 0),
                filter("/usr/sbin/nginx", "", "", 0),
                true,
            ),
            (filter("/usr/*", "", "", 0), filter("nginx", "", "", 0), false),
            (filter("", "", "/a", 0), filter("", "", "/a/b", 0), true),
            (filter("", "", "/a/b", 0), filter("", "", "/a", 0), false),
            (filter("", "", "", 80), filter("", "", "", 81), false),
        ] {
            assert_eq!(wide.covers(&narrow), expect, "{wide:?} {narrow:?}");
        }
    }
}
