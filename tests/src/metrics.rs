//! Numbers of a `/metrics` page.

use std::collections::BTreeMap;

/// A scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Parses the text format.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            samples
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
                .collect(),
        )
    }

    /// A sample by its name with labels; 0 when it is not there.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0.0) as u64
    }

    /// What the agent counted: stage and counter.
    ///
    /// # Panics
    /// There is no such counter.
    #[must_use]
    pub fn event(&self, stage: &str, what: &str) -> u64 {
        let name = format!("eastwatch_agent_events_total{{stage=\"{stage}\",what=\"{what}\"}}");
        let value = self.0.get(&name);
        *value.unwrap_or_else(|| panic!("no counter {name}")) as u64
    }

    /// The agent's counters that are not 0, for a report.
    #[must_use]
    pub fn nonzero_events(&self) -> String {
        self.0
            .iter()
            .filter(|(name, value)| name.starts_with("eastwatch_agent_events") && **value > 0.0)
            .map(|(name, value)| {
                format!(
                    "{}={value}",
                    name.trim_start_matches("eastwatch_agent_events_total")
                )
            })
            .collect::<Vec<_>>()
            .join(" ")
    }
}
