//! Every bound of the catalog, and the names under which what exceeds them is counted.

use crate::delta::Standing;
use crate::segment::Coarseness;

/// Bounds. What exceeds one is folded into something coarser and counted by the limit's name, never lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// APIs that a node tracks at a time. More are folded into the workload `*`.
    pub apis: usize,
    /// Hosts of one workload that a node tracks at a time. More are folded into the host `*`.
    pub hosts_per_workload: usize,
    /// Leaves that a node tracks at a time, over all APIs. More are folded into the rest of their API.
    pub leaves: usize,
    /// Leaves of one API made of route words and types only, that answered other than 4xx. More are cut after the first
    /// segment.
    pub route_leaves_per_api: usize,
    /// Leaves of one API with a literal that is not a route word. More have those literals replaced by `text`.
    pub text_leaves_per_api: usize,
    /// Leaves of one API that are cut after the first segment. More are cut before it.
    pub rest_leaves_per_api: usize,
    /// As the three above, each, for calls answered 4xx or not at all: they have places of their own, so that a scan does not
    /// take those of real endpoints.
    pub missed_leaves_per_api: usize,
    /// Path segments that are looked at; what lies below is one `Rest`. At most [`DEPTH_MAX`].
    pub depth: usize,
    /// Minutes of one leaf, method and delta. Calls of further minutes are counted in the nearest one kept.
    pub minutes_per_record: usize,
    /// Records of one delta; a busy API is told in several deltas.
    pub records_per_delta: usize,
    /// Calls (answered other than 4xx) after which a plausible word that is not a route word is a literal on this node.
    pub literal_calls: u32,
    /// Different such words below one parent after which none becomes a literal there any more: it is a value's position.
    pub words_per_position: u32,
    /// Words that a node holds as literals because they repeated. The oldest half is forgotten when it is full.
    pub repeated_words: usize,
}

/// Largest number of path segments in any leaf.
pub const DEPTH_MAX: usize = 24;

impl Default for Limits {
    fn default() -> Self {
        Self {
            apis: 1024,
            hosts_per_workload: 64,
            leaves: 20_000,
            route_leaves_per_api: 8192,
            text_leaves_per_api: 2048,
            rest_leaves_per_api: 256,
            missed_leaves_per_api: 512,
            depth: 16,
            minutes_per_record: 1440,
            records_per_delta: 1000,
            literal_calls: 3,
            words_per_position: 32,
            repeated_words: 16_384,
        }
    }
}

impl Limits {
    /// Limit of the leaves of one API, by what their calls showed and how coarse they are.
    pub(crate) fn leaves_of(&self, standing: Standing, coarseness: Coarseness) -> (usize, Fold) {
        match (standing, coarseness) {
            (_, Coarseness::Everything) => (usize::MAX, Fold::Leaves),
            (Standing::Missed, _) => (self.missed_leaves_per_api, Fold::MissedLeaves),
            (Standing::Served, Coarseness::Text) => (self.text_leaves_per_api, Fold::TextLeaves),
            (Standing::Served, Coarseness::Route) => (self.route_leaves_per_api, Fold::RouteLeaves),
            (Standing::Served, Coarseness::Rest) => (self.rest_leaves_per_api, Fold::RestLeaves),
        }
    }
}

macro_rules! folds {
    ($($variant:ident = $name:literal: $doc:literal),+ $(,)?) => {
        /// Which limit folded something away.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Fold { $(#[doc = $doc] $variant),+ }

        impl Fold {
            /// Every limit.
            pub const ALL: &[Fold] = &[$(Fold::$variant),+];

            /// Name in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Fold::$variant => $name),+ }
            }
        }
    };
}

folds! {
    Apis = "apis": "[`Limits::apis`]",
    HostsPerWorkload = "hosts_per_workload": "[`Limits::hosts_per_workload`]",
    InvalidHost = "invalid_host": "The host cannot be a host name.",
    Leaves = "leaves": "[`Limits::leaves`]",
    RouteLeaves = "route_leaves_per_api": "[`Limits::route_leaves_per_api`]",
    TextLeaves = "text_leaves_per_api": "[`Limits::text_leaves_per_api`]",
    RestLeaves = "rest_leaves_per_api": "[`Limits::rest_leaves_per_api`]",
    MissedLeaves = "missed_leaves_per_api": "[`Limits::missed_leaves_per_api`]",
    Depth = "depth": "[`Limits::depth`]",
    Methods = "methods": "The method is not a registered one.",
    Minutes = "minutes_per_record": "[`Limits::minutes_per_record`]",
    Words = "words_per_position": "[`Limits::words_per_position`]: a repeated word stayed a value.",
    RepeatedWords = "repeated_words": "[`Limits::repeated_words`]: words forgotten.",
}

/// Calls (words for [`Fold::RepeatedWords`]) that each limit folded away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded([u64; Fold::ALL.len()]);

impl Folded {
    pub(crate) fn add(&mut self, fold: Fold, count: u64) {
        if let Some(slot) = self.0.get_mut(fold as usize) {
            *slot = slot.saturating_add(count);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Fold, u64)> + '_ {
        Fold::ALL.iter().copied().zip(self.0.iter().copied())
    }
}
